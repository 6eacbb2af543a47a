// `gangway attach-runtime` over the nodes of an allocation: a runtime on each host in the place of an engine.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually, USER } from "../job/harness.ts";
import { allocated, COMPUTE, remains } from "./batch.ts";
import { homeOf, rigUp, runOn, startOn } from "./cluster.ts";
import { processesOn } from "./launched.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const seen = join(USER.home, "runtime");
const place = join(homeOf(USER.name), "runtime");

const attach = (options: readonly string[], ...command: readonly string[]) => [
  ...["gangway", "attach-runtime", ...options, "--accounts", "--", `${seen}/with-unshare`, `${seen}/root`],
  ...["/opt/udiImage/libexec/init", "--", ...command],
];

beforeAll(() => {
  rigUp();
  mkdirSync(join(place, "root"), { recursive: true });
  copyFileSync(join(REPOSITORY, "examples/runtime/with-unshare"), join(place, "with-unshare"));
  execFileSync("tar", ["-x", "-C", join(place, "root"), "-f", join(REPOSITORY, "build/images/bare.tar")]);
  execFileSync("chown", ["-R", `${USER.uid}:${USER.gid}`, place]);
});
afterAll(() => rmSync(place, { recursive: true, force: true }));
afterEach(async () => {
  await eventually("nothing is left on the hosts", 20, () => {
    const processes = COMPUTE.flatMap((host) => processesOn(host, /^\/opt\/udiImage\/libexec\/init|^sleep 4713/));
    return remains() === "" && processes.length === 0;
  });
});

describe("three hosts, a runtime on each", () => {
  it("hops, input, output and exit status are as with engines", async () => {
    const script =
      "read line; echo $line; cat /var/hostsfile; ssh -n n2 'hostname; ssh -n n3 hostname'; echo aside >&2; exit 6";
    const { code, stdout, stderr } = await allocated(["-N3"], attach([], "sh", "-c", script), "typed\n");
    const out = "typed\nn1\nn2\nn3\nn2\nn3\n";
    expect({ code, stdout, stderr }).toEqual({ code: 6, stdout: out, stderr: "aside\n" });
  });

  it("a session from another host goes in", async () => {
    const job = startOn("n1", ["salloc", "-Q", "-N2", "-w", "n1,n2", ...attach(["--name", "rt"], "sleep", "4713")]);
    const ended = new Promise((resolve) => job.once("close", resolve));
    await eventually("the job runs", 30, async () => (await runOn("n1", ["gangway", "hosts", "rt"])).code === 0);
    const { stdout } = await runOn("n1", ["gangway", "ssh", "rt.n2", "hostname; test -e /opt/udiImage && echo in"]);
    expect(stdout).toBe("n2\nin\n");
    await runOn("n1", ["gangway", "stop", "rt"]);
    await ended;
  });

  it("a launcher that is killed takes all with it", async () => {
    const job = startOn("n1", ["salloc", "-Q", "-N3", ...attach(["--name", "rt"], "sleep", "4713")]);
    const ended = new Promise((resolve) => job.once("close", resolve));
    await eventually("the job runs", 30, async () => (await runOn("n1", ["gangway", "hosts", "rt"])).code === 0);
    for (const pid of processesOn("n1", /^node .*attach-runtime --name rt/)) process.kill(pid, "SIGKILL");
    await ended;
  });
});
