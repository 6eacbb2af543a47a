import type { SpawnOptions } from "node:child_process";
import { JobError, STATUS } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";
import type { Placeholder } from "../udi/ssh-config.ts";
import type { Foreign } from "./foreign-kit.ts";
import type { CondorPlace } from "./htcondor-queue.ts";
import type { Seeker } from "./resolve.ts";
import type { Way } from "./ways.ts";

/** Which job is entered, as whom, and by which way. */
export interface EntryRequest {
  readonly seeker: Seeker;
  /** The job, as it was typed. */
  readonly target: string;
  /** Undefined: the best that is possible. */
  readonly way: Way | undefined;
  /** With the way `condor`: the queue that was named. */
  readonly queue?: CondorPlace;
  /** The host to go through, where one was named. */
  readonly via?: string | undefined;
  /** As whom, where a name was typed. */
  readonly login?: string | undefined;
  /** `-F FILE` of the user's: read behind ours, so that it can add to it, and not turn it elsewhere. */
  readonly userConfig?: string | undefined;
  /** What stands for the job in the words of a client program that takes its hosts from them. */
  readonly placeholders?: readonly Placeholder[];
  /** The setting runDirectory. */
  readonly runDirectory: string | undefined;
  /** Until the job runs it is tried again: a carrier is begun only where the manager has said that it does. */
  readonly retried?: boolean;
  /** Where root enters another user's job. */
  readonly foreign?: Foreign;
}

/** What is prepared for one session: any client program of OpenSSH's that is given the file reaches the job by the name. */
export interface Entry {
  /** Absolute path of an ssh_config that holds everything, the way's settings included. It may be gone when the work is done. */
  readonly configFile: string;
  /** The job's name in that file. */
  readonly host: string;
  /** The job's user. */
  readonly user: string;
  /** The tree whose programs stand in for those that this host does not have; undefined: there is none. */
  readonly udiImage: string | undefined;
  /** Whether all that the file says is ours, and so is the program that connects: no ssh of the host's own is needed for it. */
  readonly ours: boolean;
  /** For the client program's process, besides its standard streams. */
  readonly spawning: Pick<SpawnOptions, "env">;
  /**
   * The client failed (255 of ssh's): was it the job, its node, or the way?
   *
   * @param interrupted the signal that ended it, where one came
   * @returns where it was none of them
   * @throws GangwayError that says which
   */
  explain(interrupted: NodeJS.Signals | undefined): Promise<void>;
}

/** @throws JobError (exit status 64) for USER@JOB with a name that nobody has in the job */
export function checkLogin({ login, target }: Pick<EntryRequest, "login" | "target">, user: string): void {
  if (login === undefined || login === user) return;
  throw new JobError(`${quoted(login)} cannot enter the job: only its own user, ${user}, may`, {
    hint: `leave the name out: gangway ssh ${target}`,
    exitCode: STATUS.usage,
  });
}
