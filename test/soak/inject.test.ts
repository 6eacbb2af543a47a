import { randomInt } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { docker, ForeignContainer } from "../inject/foreign.ts";
import { ENGINES, eventually, GANGWAY, IMAGES, start } from "../job/harness.ts";

const ROUNDS = 25;
/** Longer than an injection with its session takes. */
const LATEST_MS = 1500;

describe.each(ENGINES)("a client that is killed at any moment, on $name", (engine) => {
  it.each([
    ["files", []],
    ["memory", ["--read-only"]],
  ])("leaves nothing that the next withdrawal does not find in %s", async (_name, options) => {
    const container = await ForeignContainer.start(engine, [...options, IMAGES.debian, "sleep", "10000"]);
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const child = start([GANGWAY, "inject", container.name, "sleep 987"], { engine });
        const ended = new Promise((resolve) => child.once("close", resolve));
        await new Promise((resolve) => setTimeout(resolve, randomInt(LATEST_MS)));
        child.kill("SIGKILL");
        await ended;
        await eventually("the session's processes are gone", 20, async () => {
          return !/gangway-inject|udiImage|sleep 987/.test(await container.processes());
        });
        if (round % 3 !== 0) continue;
        expect(await container.withdraw()).toMatchObject({ code: 0, stdout: "" });
        expect(await container.diff()).toBe(container.before);
      }
      expect(await container.withdraw()).toMatchObject({ code: 0, stdout: "" });
      expect((await container.exec(["find", "/dev", "/run", "/tmp", "-name", "*gangway*"])).stdout).toBe("");
      // One that was made and not started is removed by a call a minute later.
      await eventually("no container beside it is left", 150, async () => {
        await container.inject(["true"], { words: ["--once"] });
        const { stdout } = await docker(engine, ["ps", "-aq", "--filter", `label=gangway.beside=${container.id}`]);
        return stdout === "";
      });
    } finally {
      await container.remove();
    }
  });
});

describe("a program in the container that holds a lock on ours", () => {
  let container: ForeignContainer;
  beforeAll(async () => {
    container = await ForeignContainer.start(ENGINES[0] as (typeof ENGINES)[number], [IMAGES.debian, "sleep", "1000"]);
  });
  afterAll(async () => await container.remove());

  it.each(["-x", "-s"])("flock %s: keeps nobody from withdrawing it by force", async (kind) => {
    expect(await container.inject(["true"])).toMatchObject({ code: 0 });
    const hold = ["flock", kind, "/opt/udiImage/libexec/inject", "sleep", "100"];
    expect(await container.exec(hold, ["-d", "-u", "1000"])).toMatchObject({ code: 0 });
    await eventually("it is locked", 10, async () => (await container.withdraw()).code === 75);
    expect(await container.withdraw(["--force"])).toMatchObject({ code: 0, stderr: "" });
    expect(await container.diff()).toBe(container.before);
  });
});
