import { accessSync, constants } from "node:fs";
import { dirname, join } from "node:path";
import { reasonOf } from "./errors.ts";

/** No such directory is anywhere. */
const NOWHERE = "/nonexistent";

/**
 * Absolute path of the first program of that name in $PATH; entries that depend on the working directory are passed over.
 *
 * @param path as $PATH
 * @param accept whether it is the one that is meant; where it throws, it is not
 * @returns undefined where there is none
 */
export function programInPath(
  name: string,
  path: string = process.env.PATH ?? "",
  accept: (file: string) => boolean = () => true,
): string | undefined {
  for (const directory of path.split(":").filter((entry) => entry.startsWith("/"))) {
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      if (accept(file)) return file;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

/**
 * What to start for a program's name, so that none of the working directory is, whatever stands in $PATH (execvp(3) takes an empty
 * entry for it): the first of that name in $PATH. A path stays as it is.
 *
 * @returns a path where nothing is, where $PATH has none
 */
export function programNamed(name: string, path: string = process.env.PATH ?? ""): string {
  return name.includes("/") ? name : (programInPath(name, path) ?? join(NOWHERE, name));
}

/** Why a program could not be started, for behind its name. @param error of its `spawn` */
export function whyNotStarted(error: unknown): string {
  const { path } = error as { readonly path?: unknown };
  return typeof path === "string" && dirname(path) === NOWHERE ? "it is not in the PATH" : reasonOf(error);
}
