import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inTurn } from "../../src/engine/in-turn.ts";

let directory: string;
let socket: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "engine-in-turn-"));
  socket = join(directory, "engine.sock");
  writeFileSync(socket, "");
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Another program that keeps the lock. */
async function holder(): Promise<ChildProcess> {
  const child = spawn("flock", ["-x", join(directory, "gangway.lock"), "cat"], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin?.write("\n");
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child;
}

/** What the lock's keeper has in its environment. */
function environmentsOfKeepers(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return /^\S*\bflock\0/.test(command) && command.includes(directory)
        ? [readFileSync(`/proc/${pid}/environ`, "utf8")]
        : [];
    } catch {
      // No process, or one that has ended meanwhile.
      return [];
    }
  });
}

describe("work at an engine in turn", () => {
  it("is done one after the other", async () => {
    const events: string[] = [];
    const work = (name: string) => async () => {
      events.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      events.push(`${name} ends`);
    };
    await Promise.all([inTurn(socket, work("one")), inTurn(socket, work("two"))]);
    expect(events).toEqual(["one begins", "one ends", "two begins", "two ends"]);
  });

  it("waits for other programs", async () => {
    const other = await holder();
    const events: string[] = [];
    const done = inTurn(socket, async () => void events.push("ours"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    events.push("the other lets go");
    other.stdin?.end();
    await done;
    expect(events).toEqual(["the other lets go", "ours"]);
  });

  it("goes ahead where another keeps his turn for ever, and does not wait for him again", async () => {
    const other = await holder();
    try {
      expect(await inTurn(socket, () => Promise.resolve("first"), 1)).toBe("first");
      // With the usual patience the test would take too long, were it waited for.
      expect(await inTurn(socket, () => Promise.resolve("second"))).toBe("second");
    } finally {
      other.stdin?.end();
    }
  });

  it("gives nothing of this process's environment to the one that keeps the lock", async () => {
    process.env.GANGWAY_UNIT_SECRET = "x";
    try {
      const [environment, ...others] = await inTurn(socket, () => Promise.resolve(environmentsOfKeepers()));
      expect(others).toEqual([]);
      expect(environment).toBe(`PATH=${process.env.PATH}\0`);
    } finally {
      delete process.env.GANGWAY_UNIT_SECRET;
    }
  });
});
