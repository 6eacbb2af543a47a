import { readFileSync } from "node:fs";
import { hostname } from "node:os";

/** A process, so described that another one which later gets the same number is not taken for it. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** Clock ticks after boot (field 22 of /proc/PID/stat, proc(5)), with the boot's own id. */
  readonly start: string;
}

/** Bytes of a file that holds one, with much to spare: users write such files for root to read. */
export const LONGEST_IDENTITY = 4096;

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** Field 22 of /proc/PID/stat, counted behind the command's name, which may hold blanks and parentheses. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

export function thisProcess(): ProcessIdentity {
  return { host: hostname(), pid: process.pid, start: `${startTime(process.pid) ?? "0"}@${bootId()}` };
}

export function formatIdentity(identity: ProcessIdentity): string {
  return `${identity.pid}:${identity.start}:${identity.host}`;
}

/** The inverse of {@link formatIdentity}; undefined for anything else. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^(\d{1,10}):(\d+@[0-9a-f-]+):(.+)$/.exec(text);
  if (match === null) return undefined;
  const [, pid = "", start = "", host = ""] = match;
  return { pid: Number(pid), start, host };
}

/** Whether a process is known to be gone. One of another host is not: nobody here can tell. */
export function isGone(identity: ProcessIdentity): boolean {
  if (identity.host !== hostname()) return false;
  const [ticks, boot] = identity.start.split("@");
  return boot !== bootId() || startTime(identity.pid) !== ticks;
}

/**
 * Whether all that a process is by the kernel's account is one user's: its real, effective, saved and file system uid
 * (the `Uid:` line of /proc/PID/status, proc(5)). kill(2) itself is content with less.
 */
export function isWholly(uid: number, pid: number): boolean {
  try {
    const uids = /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.slice(1);
    return uids?.every((text) => Number(text) === uid) === true;
  } catch {
    return false;
  }
}
