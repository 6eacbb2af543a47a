import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

/** Milliseconds after which a child still stopped has stopped itself: ^Z, which stops all of a terminal's group, is through. */
const SETTLED_MS = 100;

/**
 * Stops this process when its child has stopped itself, as ssh does by `~^Z`: to a shell, what it started still runs until
 * then, and it would not take its terminal back. Both go on by the shell's `fg`.
 *
 * @returns what ends that
 */
export function stopWith(child: ChildProcess): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (isStoppedInForeground(child.pid)) process.kill(process.pid, "SIGTSTP");
    }, SETTLED_MS);
  };
  // The shell sends it to both of them, anybody else perhaps not.
  const goOn = () => {
    clearTimeout(timer);
    child.kill("SIGCONT");
  };
  process.on("SIGCHLD", look);
  process.on("SIGCONT", goOn);
  return () => {
    clearTimeout(timer);
    process.off("SIGCHLD", look);
    process.off("SIGCONT", goOn);
  };
}

/** Whether a process is stopped while its process group has the terminal (proc_pid_stat(5)). */
function isStoppedInForeground(pid: number | undefined): boolean {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return false;
  }
  // The name before it, in parentheses, may hold anything.
  const [state, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "T" && group === foreground;
}
