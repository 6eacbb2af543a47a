import { GangwayError } from "./errors.ts";

/** Whom a piece of work is done for: what the kernel knows of a user. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/** The user this process acts for right now, by its effective ids. */
export function callerIdentity(): Identity {
  return { uid: process.geteuid?.() ?? -1, gid: process.getegid?.() ?? -1, groups: process.getgroups?.() ?? [] };
}

/** F itself, but nothing that could be given where F returns a promise. (What only throws returns `never`.) */
type Synchronous<F extends () => unknown> = [ReturnType<F>] extends [never]
  ? F
  : ReturnType<F> extends PromiseLike<unknown>
    ? never
    : F;

/**
 * Runs `work` with the effective uid, gid and groups of a user, when this process is root and the user is another; as it
 * is when the process is the user already.
 *
 * A root launcher must never follow a link or make a file as root in a directory that another user can write: what that
 * user may not do, the kernel then refuses. `work` is synchronous, since until it returns the whole process is that
 * user: what runs meanwhile in other threads (an asynchronous file operation begun before) is, too.
 *
 * The real uid stays root's, and some calls go by that: kill(2) (use `endProcesses`), access(2) and so `accessSync` and
 * `existsSync` (open, or stat, what it is), and a child that is started: none of these belongs into `work`.
 *
 * @throws GangwayError when this process is neither the user nor root
 */
export function asUser<F extends () => unknown>(identity: Identity, work: Synchronous<F>): ReturnType<F> {
  // What the signature says, in a form the compiler can follow: F is what Synchronous<F> is, where it is anything.
  const run = work as () => ReturnType<F>;
  const { uid, gid, groups } = identity;
  const own = process.geteuid?.();
  if (own === uid) return refusePromise(run());
  if (own !== 0 || !process.setegid || !process.seteuid || !process.setgroups) {
    throw new GangwayError(`a process of uid ${own} cannot act for uid ${uid}`, {
      hint: "only root can start a job for another user",
    });
  }
  const before = callerIdentity();
  // Groups first, uid last: without root's uid the others cannot be changed any more. And back the other way round.
  process.setgroups([...groups]);
  try {
    process.setegid(gid);
    process.seteuid(uid);
    return refusePromise(run());
  } finally {
    process.seteuid(before.uid);
    process.setegid(before.gid);
    process.setgroups([...before.groups]);
  }
}

/** Past its first await, work would go on as root. */
function refusePromise<T>(result: T): T {
  if (typeof result === "object" && result !== null && "then" in result && typeof result.then === "function") {
    // Nobody will wait for it: its failure must not end the process.
    Promise.resolve(result).catch(() => undefined);
    throw new TypeError("asUser: the work must be synchronous");
  }
  return result;
}
