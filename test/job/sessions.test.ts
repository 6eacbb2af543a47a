import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, GANGWAY, gangway, IMAGES, inDirectory, run, start, USER } from "./harness.ts";

/* Who is in a job: seen while it lasts, told of in audit.log when it is over, ended with the key that let it in. */

const JOB = "sessions-1";
const directory = join(USER.runtime, "gangway", JOB);
const kit = join(directory, "kit/ssh_config");

interface Line {
  readonly node: string;
  readonly kind: string;
  readonly command: string | null;
  readonly exit: number | null;
  readonly bytes: { readonly received: number; readonly sent: number } | null;
}

function audit(): Line[] {
  const text = readFileSync(join(directory, "audit.log"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

describe("the sessions of a job", () => {
  beforeAll(async () => {
    await inDirectory(async (cwd) => {
      const words = [
        "run",
        "-d",
        "--workdir",
        "/tmp",
        "--name",
        JOB,
        "-N",
        "2",
        "--image",
        IMAGES.debian,
        "sleep",
        "300",
      ];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
  });
  afterAll(async () => await gangway(["stop", "--signal", "KILL", JOB]));

  it("are a row each of `gangway ps --sessions`, whatever the client called its command", async () => {
    const child = start(["ssh", "-tt", "-F", kit, `node2.${JOB}.job`, "sleep 200; echo \u001b[31m"]);
    let shown = "";
    await eventually("the session is seen", 20, async () => {
      shown = (await gangway(["ps", "--sessions"])).stdout;
      return shown.includes("sleep 200");
    });
    expect(shown).toMatch(new RegExp(`^${JOB} +node2 +- +socket +\\d+s +pts/0 +sleep 200; echo \\?\\[31m$`, "m"));
    child.kill("SIGTERM");
    await eventually("it is gone", 20, async () => !(await gangway(["ps", "--sessions"])).stdout.includes("sleep 200"));
  });

  it("are a line each of the audit log, with exit code and bytes", async () => {
    expect(
      (await run(["ssh", "-F", kit, `${JOB}.job`, "cat >/dev/null; exit 7"], { input: "x".repeat(5000) })).code,
    ).toBe(7);
    await eventually("the line is there", 10, () => audit().some(({ exit }) => exit === 7));
    const line = audit().find(({ exit }) => exit === 7);
    expect(line).toMatchObject({ node: "node1", kind: "command", command: "cat >/dev/null; exit 7" });
    expect(line?.bytes?.received).toBeGreaterThan(5000);
  });

  it("that came in by a revoked key end with it; others go on", async () => {
    await inDirectory(async (cwd) => {
      const make = `ssh-keygen -q -t ed25519 -N '' -f k && ${GANGWAY} key authorize ${JOB} <k.pub >k-cert.pub
        sed 's#IdentityFile .*#IdentityFile ${cwd}/k#; s#CertificateFile .*#CertificateFile ${cwd}/k-cert.pub#' ${kit} >conf`;
      expect((await run(["sh", "-c", make], { cwd })).code).toBe(0);
      const other = start(["ssh", "-F", kit, `${JOB}.job`, "sleep 200; echo other"]);
      const ended = run(["ssh", "-F", join(cwd, "conf"), `${JOB}.job`, "sleep 200; echo never"], { cwd });
      const seen = async (text: string) => (await gangway(["ps", "--sessions"])).stdout.includes(text);
      await eventually("both are in", 20, async () => (await seen("echo other")) && (await seen("echo never")));
      expect((await gangway(["key", "revoke", JOB, "all"])).stdout).toMatch(
        /; 1 connection was open by it and ended\n$/,
      );
      expect(await ended).toMatchObject({ code: 255, stdout: "" });
      await eventually("it is out", 20, async () => !(await seen("echo never")));
      expect(await seen("echo other")).toBe(true);
      other.kill("SIGTERM");
    });
  });
});
