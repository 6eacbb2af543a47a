// The launcher's words `suspend` and `resume`: where the manager's own freezer does not reach the container.
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { byUnix, hold, leave } from "./clients.ts";
import { processesWith, startedIn, until } from "./helpers.ts";

afterEach(leave);

interface Held {
  readonly runDir: string;
  readonly marker: string;
}

/**
 * Of the command's processes and the sshd, which has none of the job's environment; init itself aside: T is stopped, D, in
 * vfork(2), waits for a child of its own (proc(5)).
 */
function states({ runDir, marker }: Held): string[] {
  return [...new Set([...processesWith(marker), ...startedIn([runDir])])].flatMap((pid) => {
    const stat = statOf(pid);
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    return name === "init" || name === "rig" ? [] : [stat.slice(stat.lastIndexOf(")") + 2).charAt(0)];
  });
}

/** A process may end while it is looked at; its state is then X (proc(5)). */
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return `${pid} (gone) X`;
  }
}

/** The command's shell and the sshd are always there. */
function isStopped(job: Held): boolean {
  const seen = states(job);
  return seen.length > 1 && seen.includes("T") && seen.every((state) => state === "T" || state === "D");
}

async function suspended() {
  const job = await hold([], { command: ["sh", "-c", "while :; do sleep 0.02; done"] });
  await job.launcher.say("go");
  await job.launcher.hears(/^started/);
  const client = await byUnix(job.runDir).served();
  await job.launcher.say("suspend");
  await until("all is stopped", () => isStopped(job));
  return { ...job, client };
}

describe("a suspended container", () => {
  it("runs nothing but init, lets nobody in, and goes on as if nothing had been", async () => {
    const { runDir, launcher, marker, client } = await suspended();
    const before = processesWith(marker);
    const late = byUnix(runDir);
    await late.connected();
    client.socket.write("arguments\n");
    // Whatever was to come of these would have come before init answers this, twice.
    await launcher.say("winsize 1 1", "nonsense");
    await new Promise((done) => setTimeout(done, 200));
    expect(late.text).toBe("");
    expect(client.text).not.toContain("answered");
    expect(processesWith(marker)).toEqual(before);
    await launcher.say("resume");
    await late.served();
    await until("the session goes on", () => client.text.includes("answered"));
    expect(states({ runDir, marker })).not.toContain("T");
    // That is for ^Z on the job's terminal.
    expect(launcher.lines.filter((line) => line.startsWith("stopped"))).toEqual([]);
  });

  it("ends with its launcher, and leaves no process", async () => {
    const { launcher, started, marker } = await suspended();
    launcher.close();
    expect(await started.ended).toBe(137);
    expect(processesWith(marker)).toEqual([]);
  });

  it("ends when it is told to", async () => {
    const { launcher, started, marker } = await suspended();
    await launcher.say("end");
    await started.ended;
    expect(processesWith(marker)).toEqual([]);
  });
});
