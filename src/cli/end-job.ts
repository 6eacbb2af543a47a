import { printable } from "../config/printable.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { askLauncher, SilentLauncherError } from "../job/owner-client.ts";
import type { OwnerRequest } from "../job/owner-protocol.ts";
import type { Owner } from "./context.ts";

export type StopRequest = Extract<OwnerRequest, { op: "stop" }>;

/**
 * Has a job's launcher end the job, and waits for that. One that was stopped (SIGSTOP) does not: its containers can be
 * removed all the same.
 *
 * @param directory the job's private directory
 * @returns whether the launcher did it
 */
export async function endedByLauncher(directory: string, request: StopRequest, { identity }: Owner): Promise<boolean> {
  try {
    return (await askLauncher(launcherSocketOf({ directory }), request, identity)) !== undefined;
  } catch (error) {
    if (!(error instanceof SilentLauncherError)) throw error;
    process.stderr.write(`gangway: ${printable(error.message)}: its containers are removed\n`);
    return false;
  }
}
