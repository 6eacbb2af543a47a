import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GANGWAY, gangway, IMAGES, inDirectory, OTHER, type RunResult, run, USER } from "./harness.ts";

/*
 * Keys of the owner's own: signed for a time, for one job; looked at, and ended. ssh-keygen says what a certificate is,
 * a real sshd whether it is good.
 */

const JOB = "keys-1";
const directory = join(USER.runtime, "gangway", JOB);

async function shell(script: string, cwd: string, input = ""): Promise<RunResult> {
  return await run(["sh", "-c", script], { cwd, input, env: { GANGWAY } });
}

/** Enters by a key in the current directory and its certificate, and by nothing else. */
function enterBy(key: string, host = `${JOB}.job`): string {
  const options = [
    `UserKnownHostsFile=${directory}/kit/known_hosts`,
    "GlobalKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=yes",
    `HostKeyAlias=node1.${JOB}.job`,
    "IdentitiesOnly=yes",
    "PreferredAuthentications=publickey",
    "ProxyUseFdpass=yes",
    `ProxyCommand=$(dirname "$GANGWAY")/../lib/gangway/udiImage/libexec/connector ${directory}/0/ssh`,
  ];
  const words = options.map((option) => `-o "${option}"`).join(" ");
  return `ssh -F /dev/null ${words} -i ${key} -o CertificateFile=${key}-cert.pub ${USER.name}@${host}`;
}

interface Listed {
  readonly serial: string;
  readonly comment: string;
  readonly revoked: boolean;
  readonly expires: string;
  readonly signed: string;
  readonly fingerprint: string;
}

async function listed(): Promise<Listed[]> {
  const { stdout } = await gangway(["key", "list", "--json", JOB]);
  return JSON.parse(stdout) as Listed[];
}

describe("a key of the owner's", () => {
  beforeAll(async () => {
    await inDirectory(async (cwd) => {
      const words = ["run", "-d", "--name", JOB, "-N", "2", "--image", IMAGES.debian, "sleep", "300"];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
  });
  afterAll(async () => await gangway(["stop", "--signal", "KILL", JOB]));

  it.each(["ed25519", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa -b 2048"])(
    "of the type %s enters by its certificate, and not without",
    async (type) => {
      await inDirectory(async (cwd) => {
        await shell(`ssh-keygen -q -t ${type} -C 'my laptop' -N '' -f k`, cwd);
        expect(await shell(`$GANGWAY key authorize ${JOB} k.pub >cert`, cwd)).toMatchObject({ code: 0, stderr: "" });
        expect((await shell("ssh-keygen -L -f cert", cwd)).stdout).toMatch(
          new RegExp(`user certificate[^]*Principals: *\\n *job-${JOB}\\n`),
        );
        expect((await shell(`${enterBy("k")} hostname`, cwd)).code).toBe(255);
        await shell("mv cert k-cert.pub", cwd);
        expect(await shell(`${enterBy("k")} hostname`, cwd)).toMatchObject({ code: 0, stdout: "node1\n" });
      });
    },
  );

  it("is good for the time that was asked for; a comment tells it from others", async () => {
    await inDirectory(async (cwd) => {
      const script = `ssh-keygen -q -t ed25519 -N '' -f k && $GANGWAY key authorize --for 90m --comment desk ${JOB} <k.pub`;
      expect((await shell(script, cwd)).code).toBe(0);
      const key = (await listed()).at(-1);
      const seconds = (Date.parse(key?.expires ?? "") - Date.parse(key?.signed ?? "")) / 1000;
      expect(key?.comment).toBe("desk");
      // Certificates count whole seconds.
      expect(Math.ceil(seconds)).toBe(5400);
    });
  });

  it("revoked: named by serial or fingerprint, it enters no node any more, and others still do", async () => {
    await inDirectory(async (cwd) => {
      await shell("for k in a b; do ssh-keygen -q -t ed25519 -N '' -C $k -f $k; done", cwd);
      for (const key of ["a", "b"]) await shell(`$GANGWAY key authorize ${JOB} ${key}.pub >${key}-cert.pub`, cwd);
      const [a, b] = (await listed()).slice(-2);
      expect((await gangway(["key", "revoke", JOB, a?.serial ?? ""])).stdout).toMatch(/^revoked key \d+ \(a\)/);
      expect((await shell(`${enterBy("a")} true`, cwd)).stderr).toContain("Permission denied");
      expect((await shell(`${enterBy("b")} true`, cwd)).code).toBe(0);
      for (const node of ["0", "1"]) {
        const list = join(directory, node, "revoked_keys");
        expect((await shell(`ssh-keygen -Q -f ${list} a-cert.pub`, cwd)).stdout).toContain("REVOKED");
        expect((await shell(`ssh-keygen -Q -f ${list} b-cert.pub`, cwd)).stdout).toContain(": ok");
      }
      expect((await gangway(["key", "revoke", JOB, b?.fingerprint ?? ""])).code).toBe(0);
      expect((await shell(`${enterBy("b")} true`, cwd)).stderr).toContain("Permission denied");
      expect((await listed()).slice(-2).map(({ revoked }) => revoked)).toEqual([true, true]);
      // The owner's own way in is no key that was brought.
      expect((await gangway(["shell", JOB, "--", "true"])).code).toBe(0);
    });
  });

  it("the kit for a program is lines of data", async () => {
    await inDirectory(async (cwd) => {
      const script = `ssh-keygen -q -t ed25519 -N '' -f k && $GANGWAY key authorize --kit node2.${JOB}.job <k.pub`;
      const { stdout, code } = await shell(script, cwd);
      expect(code).toBe(0);
      const lines = stdout.trimEnd().split("\n");
      expect(lines.map((line) => line.split(" ")[0])).toEqual([
        "certificate",
        "authority",
        "host",
        "user",
        "socket",
        "connector",
        "tcp",
      ]);
      expect(lines).toContain(`host node2.${JOB}.job`);
      expect(lines).toContain(`user ${USER.name}`);
      expect(lines).toContain(`socket ${directory}/1/ssh`);
      expect(readFileSync(join(directory, "kit/known_hosts"), "utf8")).toContain(lines[1]?.split(" ")[2]);
    });
  });

  it.each<[string, string, RegExp]>([
    ["a private key", "k", /private key, which must stay where it is/],
    ["a certificate", "c", /this is a certificate/],
    ["nothing", "/dev/null", /empty/],
    ["several keys", "two", /2 lines/],
    ["garbage", "garbage", /not a usable public key/],
    ["an old DSA key", "dsa", /DSA/],
    ["no file", "missing", /cannot be read/],
  ])("%s is refused, and why", async (_what, file, reason) => {
    await inDirectory(async (cwd) => {
      const script = `ssh-keygen -q -t ed25519 -N '' -f k; ssh-keygen -q -s k -I i k.pub; mv k-cert.pub c
        cat k.pub k.pub >two; echo hello world >garbage; echo ssh-dss AAAA >dsa; $GANGWAY key authorize ${JOB} ${file}`;
      const { code, stdout, stderr } = await shell(script, cwd);
      expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
      expect(stderr).toMatch(reason);
      expect(stderr).not.toContain("BEGIN OPENSSH");
    });
  });

  it.each([
    [["key", "authorize", "--for", "31d", JOB], 64, /30d at most/],
    [["key", "authorize", "--for", "soon", JOB], 64, /not a duration/],
    [["key", "authorize", "none-such"], 68, /there is no job "none-such"/],
    [["key", "authorize", `node9.${JOB}`], 68, /has no node "node9"/],
    [["key", "revoke", JOB, "99999"], 64, /no key "99999" was signed/],
  ])("%j ends with %d", async (words, status, reason) => {
    await inDirectory(async (cwd) => {
      await shell("ssh-keygen -q -t ed25519 -N '' -f k", cwd);
      const result = await gangway(words, { input: readFileSync(join(cwd, "k.pub"), "utf8") });
      expect(result.code).toBe(status);
      expect(result.stderr).toMatch(reason);
    });
  });

  it("nobody else can have one signed, and nothing in the container sees where to ask", async () => {
    const { code, stderr } = await gangway(["key", "list", JOB], { user: OTHER });
    expect(code).toBe(68);
    expect(stderr).toContain("there is no job");
    const look = await run(["ls", join(directory, "launcher.sock")], { user: OTHER });
    expect(look.stderr).toContain("Permission denied");
    const seen = await gangway(["shell", JOB, "--", "find", "/", "-xdev", "-name", "launcher.sock"]);
    expect(seen.stdout).toBe("");
  });
});
