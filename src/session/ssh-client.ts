import type { SpawnOptions } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { JobError } from "../config/errors.ts";
import { runChild } from "./child.ts";

/** A session into a job's container on this node, by its access kit. */
export interface SessionRequest {
  /** The ssh_config: the kit's, or what root made of it. */
  readonly config: string;
  /** The name it has for the node. */
  readonly host: string;
  readonly udiImage: string;
  /** Empty: a login shell. */
  readonly command: readonly string[];
  readonly tty: boolean;
}

/** A word for a POSIX shell, whatever is in it. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@+,-]+$/.test(word) ? word : quoteWord(word);
}

function quoteWord(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command for a POSIX shell. Its first word is quoted: else it could be an assignment, a reserved word or an alias. */
export function shellCommand([program, ...words]: readonly string[]): string {
  return program === undefined ? "" : [quoteWord(program), ...words.map(shellWord)].join(" ");
}

/**
 * The ssh client of this host, since it knows the host's accounts (by LDAP or SSSD), which our static one does not;
 * ours where there is none.
 */
export function sshProgram(udiImage: string): string {
  for (const directory of (process.env.PATH ?? "").split(":").filter((entry) => entry.startsWith("/"))) {
    const path = join(directory, "ssh");
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  return join(udiImage, "bin/ssh");
}

export function sshArguments(request: SessionRequest): string[] {
  const terminal = request.tty ? ["-t"] : request.command.length > 0 ? ["-T"] : [];
  // A session is quiet but for errors: ssh would tell with -t that the connection is closed.
  const quiet = ["-o", "LogLevel=ERROR"];
  const words = shellCommand(request.command);
  return ["-F", request.config, ...quiet, ...terminal, "--", request.host, ...(words === "" ? [] : [words])];
}

/**
 * Runs a session with this process's own standard streams.
 *
 * @param env of ssh, where it is not this process's
 * @returns its exit code; 255 when ssh itself failed
 */
export async function runSession(request: SessionRequest, env: SpawnOptions = {}): Promise<number> {
  try {
    accessSync(request.config, constants.R_OK);
  } catch (error) {
    throw new JobError("the job cannot be entered (yet): it has no access kit", {
      hint: "it is still being launched, is another user's, or was started with --no-sshd",
      cause: error,
    });
  }
  const options: SpawnOptions = { stdio: "inherit", ...env };
  return (await runChild(sshProgram(request.udiImage), sshArguments(request), options)).code;
}
