import { JobError } from "../config/errors.ts";
import { printable } from "../config/printable.ts";
import { launcherSocketOf } from "../job/directory.ts";
import { askLauncher, SilentLauncherError } from "../job/owner-client.ts";
import type { OwnerRequest } from "../job/owner-protocol.ts";
import type { Owner } from "./context.ts";

export type StopRequest = Extract<OwnerRequest, { op: "stop" }>;

/**
 * Has a job's launcher end the job, and waits for that. One that was stopped (SIGSTOP) does not: its containers can be
 * removed all the same. So can they where root asks: whatever a user has put in the launcher's place may answer anything.
 *
 * @param directory the job's private directory
 * @returns whether the launcher did it
 */
export async function endedByLauncher(directory: string, request: StopRequest, { identity }: Owner): Promise<boolean> {
  try {
    return (await askLauncher(launcherSocketOf({ directory }), request, identity)) !== undefined;
  } catch (error) {
    const othersWord = error instanceof JobError && identity.uid !== process.geteuid?.();
    if (!othersWord && !(error instanceof SilentLauncherError)) throw error;
    process.stderr.write(`gangway: ${printable(error.message)}: its containers are removed\n`);
    return false;
  }
}
