import { constants } from "node:os";
import { reasonOf } from "../config/errors.ts";
import { runChild } from "./child.ts";
import { type CondorId, type CondorPlace, condorProgram, placeWords } from "./htcondor-queue.ts";

const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"];
/** How long the client may take to end once its job is being removed. */
const PATIENCE_MS = 5000;

/** Says a line to the user. */
type Tell = (line: string) => void;

/**
 * Does work, and if a signal comes meanwhile, has the job removed (`-remove-on-interrupt` of condor_ssh_to_job).
 *
 * @param remove has the job removed
 * @returns what the work returned; 1 where a signal came
 */
export async function removingOnInterrupt(
  id: string,
  remove: () => Promise<void>,
  tell: Tell,
  work: () => Promise<number>,
): Promise<number> {
  let interrupted = false;
  let done = (): void => undefined;
  const removed = new Promise<void>((resolve) => {
    done = resolve;
  });
  const onSignal = (signal: NodeJS.Signals): void => {
    if (interrupted) return;
    interrupted = true;
    tell(`Interrupted by signal ${constants.signals[signal]} (${signal}), removing job ${id}...`);
    void remove()
      .catch((error: unknown) => tell(`job ${id} could not be removed: ${reasonOf(error)}`))
      .finally(() => {
        // What ran for the session ends by it, where the job's end has not ended it.
        process.emit("SIGTERM", "SIGTERM");
        done();
      });
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    const working = work();
    const overdue = removed.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref());
    });
    const code = await Promise.race([working, overdue.then(() => 1)]);
    if (interrupted) await removed;
    return interrupted ? 1 : code;
  } catch (error) {
    if (!interrupted) throw error;
    await removed;
    return 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/**
 * Removes a job from HTCondor's queue; where this host has no condor_rm, ends the launch that was entered.
 *
 * @param stop ends a launch by `gangway stop`
 */
export async function removeJob(
  { cluster, proc }: CondorId,
  place: CondorPlace,
  tell: Tell,
  stop: () => Promise<void>,
): Promise<void> {
  const program = condorProgram("condor_rm");
  if (program === undefined) {
    tell("there is no condor_rm here: the launch is ended by gangway stop");
    await stop();
    return;
  }
  const { code } = await runChild(program, [...placeWords(place), `${cluster}.${proc}`], {
    stdio: ["ignore", "inherit", "inherit"],
    // The terminal's signals are not meant for it.
    detached: true,
  });
  if (code !== 0) tell(`condor_rm ended with ${code}`);
}
