import type { Allocation, ManagerName, Surroundings } from "../../src/allocation/allocation.ts";
import { allocationOf, detectManager } from "../../src/allocation/detect.ts";
import { ConfigError } from "../../src/config/errors.ts";

/** A machine of the name `n1.example.org` with nothing but these variables and files. */
export function surroundings(
  env: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Surroundings {
  return {
    env,
    hostname: "n1.example.org",
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error("no such file");
      return text;
    },
  };
}

/** What a manager's job is told by these variables and files. */
export function allocationIn(
  name: ManagerName,
  env: Readonly<Record<string, string>>,
  files?: Readonly<Record<string, string>>,
): Allocation {
  const given = surroundings(env, files);
  const manager = detectManager(name, given);
  if (manager === undefined) throw new Error(`${name} was not asked`);
  return allocationOf(manager, given);
}

/** The nodes as `name/slots`, head first. */
export function nodesOf({ nodes }: Allocation): string[] {
  return nodes.map(({ name, slots }) => `${name}/${slots}`);
}

/** The message of a value that cannot be understood; it comes with a hint. */
export function complaint(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (error.hint === undefined) throw new Error(`there is no hint: ${error.message}`);
    return error.message;
  }
  throw new Error("it was taken");
}
