import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, USER } from "../job/harness.ts";
import { onTerminal } from "../job/terminal.ts";
import { loadEverywhere } from "./batch.ts";
import { asRoot } from "./cluster.ts";
import { Allocation, Launched } from "./launched.ts";

const CLUSTER = join(import.meta.dirname, "../rig/cluster.sh");
/** Which rig, where it is not the usual one. */
const RIG: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value = ""]) => (name.startsWith("GANGWAY_RIG") ? [[name, value]] : [])),
);
const ROOT = { name: "root", uid: 0, gid: 0, home: "/root", runtime: "/run" };
/** Longer than the silence that these launches take for death. */
const LONGER_S = 5;
/**
 * salloc gives its command the terminal when that runs already: a bash that is there sooner stops itself, and nobody lets it
 * go on.
 */
const SHELL = "until ps -o stat= -p $$ | grep -q +; do sleep 0.1; done; exec env GANGWAY_NODE_SILENCE=2s bash --norc";

beforeAll(() => loadEverywhere("debian"));

describe("a launcher outside of its job's three hosts that is stopped for longer than the silence that means death", () => {
  // Without a terminal of its own the command leaves ^Z to the launcher's process group; else it is the command's, and the
  // launcher stops behind it.
  test.each(["-T", "-t"])("by ^Z on a terminal (%s), and goes on by fg", async (terminal) => {
    const script = "echo 'it is 'up; read line; echo 'it got '$line";
    const run = `gangway run ${terminal} --pull never --image ${IMAGES.debian} -- sh -c "${script.replace("$", "\\$")}"`;
    const { code, output } = await onTerminal(
      [CLUSTER, "as", USER.name, "ctl", "salloc", "-Q", "-N3", "sh", "-c", SHELL],
      [
        { expect: "\\$ " },
        { send: `${run}\r` },
        { expect: "it is up" },
        { send: "\x1a" },
        { expect: "Stopped" },
        { expect: "\\$ " },
        { send: `sleep ${LONGER_S}; echo here' it goes on'; fg\r` },
        { expect: "here it goes on\\s+gangway run" },
        { send: "hello\r" },
        { expect: "it got hello" },
        { expect: "\\$ " },
        { send: "exit 7\r" },
      ],
      { user: ROOT, env: RIG },
    );
    expect(output).not.toContain("is lost");
    expect(code).toBe(7);
  });
});

describe("scontrol suspend of a job whose launcher is outside", () => {
  let allocation: Allocation;
  beforeAll(async () => {
    allocation = await Allocation.take();
  });
  afterAll(async () => await allocation.release());

  test("lets the command stand still, and is no death of the nodes; resume lets it go on", async () => {
    const job = allocation.variables.find((entry) => entry.startsWith("SLURM_JOB_ID="))?.split("=")[1] ?? "";
    const launched = new Launched(allocation, { command: ["sh", "-c", "while :; do echo x; sleep 0.1; done"] });
    const grows = (from: number) => () => launched.stdout.length > from;
    await eventually("it ticks", 60, grows(0));
    asRoot("ctl", ["scontrol", "suspend", job]);
    let before = -1;
    let stillSince = Date.now();
    await eventually("it stands still for longer than the silence", 60, () => {
      if (launched.stdout.length !== before) stillSince = Date.now();
      before = launched.stdout.length;
      return Date.now() - stillSince > LONGER_S * 1000;
    });
    asRoot("ctl", ["scontrol", "resume", job]);
    await eventually("it ticks again", 30, grows(before));
    launched.kill("launcher", "SIGTERM");
    expect(await launched.end(30)).toBe(143);
    expect(launched.stderr).not.toContain("lost");
  });
});
