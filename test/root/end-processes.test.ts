import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { callerIdentity } from "../../src/config/identity.ts";
import { endProcesses } from "../../src/job/end-processes.ts";
import { isGone, isWholly, type ProcessIdentity } from "../../src/job/process.ts";

const nobody = { uid: 65534, gid: 65534, groups: [65534] };
const children: ChildProcess[] = [];

afterEach(async () => {
  await Promise.all(
    children.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    }),
  );
});

/** A process that sleeps, with the uids that setpriv(1) gives it. */
async function sleeper(...ids: readonly string[]): Promise<ProcessIdentity> {
  const child = spawn("setpriv", [...ids, "sleep", "600"], { stdio: "ignore" });
  children.push(child);
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  while (!readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("sleep")) await sleep(5);
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return { pid, start: `${start}@${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}`, host: hostname() };
}

const THE_USERS = ["--reuid=65534", "--regid=65534", "--clear-groups"];

describe("root that ends processes of a user's", () => {
  it("kills what is wholly the user's", async () => {
    const victims = [await sleeper(...THE_USERS), await sleeper(...THE_USERS)];
    expect(victims.every(({ pid }) => isWholly(65534, pid))).toBe(true);
    await endProcesses(nobody, victims);
    expect(victims.every(isGone)).toBe(true);
  });

  it.each([
    { whose: "root's", ids: ["--no-new-privs"] },
    { whose: "a third's", ids: ["--reuid=65533", "--regid=65533", "--clear-groups"] },
    { whose: "by its real uid alone the user's", ids: ["--ruid=65534"] },
  ])("leaves alone what is $whose, and says so", async ({ ids }) => {
    const victim = await sleeper(...ids);
    const own = await sleeper(...THE_USERS);
    expect(isWholly(65534, victim.pid)).toBe(false);
    await expect(endProcesses(nobody, [victim, own])).rejects.toThrow(
      `process ${victim.pid} is not killed: it is not wholly a process of uid 65534 here`,
    );
    expect(isGone(victim)).toBe(false);
    expect(isGone(own)).toBe(true);
    expect(callerIdentity().uid).toBe(0);
  });

  it("leaves alone what has only the number of another host's process", async () => {
    const victim = await sleeper(...THE_USERS);
    await expect(endProcesses(nobody, [{ ...victim, host: "elsewhere" }])).rejects.toThrow("is not killed");
    expect(isGone(victim)).toBe(false);
  });

  it("has nothing to do for what is gone", async () => {
    const victim = await sleeper(...THE_USERS);
    await endProcesses(nobody, [victim]);
    await expect(endProcesses(nobody, [victim])).resolves.toBeUndefined();
  });
});

it("a user's own process, and root's for root, need no other", async () => {
  const victim = await sleeper("--no-new-privs");
  await endProcesses(callerIdentity(), [victim]);
  expect(isGone(victim)).toBe(true);
});
