import { chownSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, GANGWAY, gangway, IMAGES, inDirectory, run, start, USER } from "./harness.ts";

/* The index in the user's home, as launchers keep it: what plain ssh reaches, as long as it runs. */

const INDEX = join(USER.home, ".gangway/ssh/jobs");
const OWN = [join(USER.home, ".gangway"), join(USER.home, ".gangway/ssh"), INDEX];

function entriesOf(job: string): string[] {
  return readdirSync(INDEX).filter((name) => name.startsWith(`${job}.`));
}

describe("the index", () => {
  const made: string[] = [];

  beforeAll(() => {
    for (const path of OWN.filter((directory) => !existsSync(directory))) {
      mkdirSync(path, { mode: 0o700 });
      chownSync(path, USER.uid, USER.gid);
      made.push(path);
    }
  });
  afterAll(() => {
    const [first] = made;
    if (first !== undefined) rmSync(first, { recursive: true });
  });

  it("has a job while it runs: plain ssh enters each node by it", async () => {
    await inDirectory(async (cwd) => {
      const words = [
        "run",
        "-d",
        "--workdir",
        "/tmp",
        "--name",
        "index-1",
        "-N",
        "2",
        "--image",
        IMAGES.debian,
        "sleep",
        "300",
      ];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
    const conf = join(INDEX, "index-1.conf");
    const enter = async (host: string) => await run(["ssh", "-F", conf, host, "hostname"]);
    expect(await enter("index-1.job")).toMatchObject({ code: 0, stdout: "node1\n", stderr: "" });
    expect(await enter("node2.index-1.job")).toMatchObject({ code: 0, stdout: "node2\n", stderr: "" });
    expect((await run(["ssh", "-G", "-F", conf, "index-1.job"])).stdout).toContain("enableescapecommandline yes\n");
    await gangway(["stop", "index-1"]);
    expect(entriesOf("index-1")).toEqual([]);
  });

  it("loses the job of a launcher that was killed at the next launch, or by gc", async () => {
    const child = start([GANGWAY, "run", "--name", "index-3", "--image", IMAGES.debian, "sleep", "300"]);
    await eventually("the entry is there", 60, () => entriesOf("index-3").length === 2);
    child.kill("SIGKILL");
    await eventually("the launcher is gone", 30, async () => {
      await gangway(["gc"]);
      return entriesOf("index-3").length === 0;
    });
  });
});
