import { spawnSync } from "node:child_process";
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONNECTOR, SSH } from "./attempt.ts";
import { asUserArgv, DOCKER, GANGWAY, IMAGES, INSTALL, inDirectory, run, USER } from "./harness.ts";
import { HeldJob } from "./held.ts";

function keygen(...words: readonly string[]): void {
  const { status, stderr } = spawnSync("ssh-keygen", ["-q", ...words], { encoding: "utf8" });
  if (status !== 0) throw new Error(`ssh-keygen ${words.join(" ")}: ${stderr}`);
}

describe("a host that cannot prove itself is refused by the client, which says why", () => {
  let job: HeldJob;
  const files = ["host_ed25519", "host_ed25519-cert.pub"] as const;
  beforeAll(async () => {
    job = await HeldJob.start({ image: IMAGES.bare, nodes: 2 });
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  /** Gives node2 other files for as long as the work takes. In place: owner and mode stay. */
  async function disguised(changes: Readonly<Record<string, string>>, work: () => Promise<void>): Promise<void> {
    const kept = Object.keys(changes).map((path) => [path, readFileSync(path)] as const);
    for (const [path, content] of Object.entries(changes)) writeFileSync(path, content);
    try {
      await work();
    } finally {
      for (const [path, content] of kept) writeFileSync(path, content);
    }
  }

  const hop = () => job.shell(["ssh", "node2", "probe", "say", "in"]);
  const enter = () => job.shell(["probe", "say", "in"], "node2");

  async function refuses(changes: Readonly<Record<string, string>>, reason: RegExp): Promise<void> {
    await disguised(changes, async () => {
      const inside = await hop();
      expect(inside).toMatchObject({ code: 255, stdout: "" });
      expect(inside.stderr).toMatch(reason);
      const outside = await enter();
      expect(outside).toMatchObject({ code: 255, stdout: "" });
      expect(outside.stderr).toMatch(reason);
    });
    expect(await hop()).toMatchObject({ code: 0, stdout: "in\n", stderr: "" });
    expect(await enter()).toMatchObject({ code: 0, stdout: "in\n", stderr: "" });
  }

  function freshKey(directory: string, name: string): string {
    const path = join(directory, name);
    keygen("-t", "ed25519", "-N", "", "-C", "", "-f", path);
    return path;
  }

  it("a swapped host key", async () => {
    await inDirectory(async (directory) => {
      const key = freshKey(directory, "host");
      await refuses(
        { [job.file(1, "host_ed25519")]: readFileSync(key, "utf8") },
        /No ED25519 host key is known for \S*node2\S* and you have requested strict checking/,
      );
    });
  });

  it("another node's key and certificate", async () => {
    await refuses(
      Object.fromEntries(files.map((name) => [job.file(1, name), job.read(0, name)])),
      /Certificate invalid: name is not a listed principal/,
    );
  });

  it("a certificate of another authority, with the right names", async () => {
    await inDirectory(async (directory) => {
      const authority = freshKey(directory, "authority");
      const key = join(directory, "host.pub");
      writeFileSync(key, job.read(1, "host_ed25519.pub"));
      keygen("-s", authority, "-h", "-I", "x", "-n", `node2,node2.${job.id}.job`, key);
      await refuses(
        { [job.file(1, "host_ed25519-cert.pub")]: readFileSync(join(directory, "host-cert.pub"), "utf8") },
        /No ED25519 host key is known for \S*node2\S* and you have requested strict checking/,
      );
    });
  });

  it.each([
    ["expired", "-2d:-1d", /Certificate invalid: expired/],
    ["not yet valid", "+1d:+2d", /Certificate invalid: not yet valid/],
  ])("a certificate of the right authority that is %s", async (_, validity, reason) => {
    await inDirectory(async (directory) => {
      // The job's own authority lives in the launcher's memory alone; so here the clients trust a second one.
      const authority = freshKey(directory, "authority");
      const known = `${job.read(0, "known_hosts")}@cert-authority * ${readFileSync(`${authority}.pub`, "utf8")}`;
      const trusted = { [job.file(0, "known_hosts")]: known, [join(job.directory, "kit/known_hosts")]: known };
      const key = join(directory, "host.pub");
      writeFileSync(key, job.read(1, "host_ed25519.pub"));
      const certificate = (from: string) => {
        keygen("-s", authority, "-h", "-I", "x", "-n", `node2,node2.${job.id}.job`, "-V", from, key);
        return { [job.file(1, "host_ed25519-cert.pub")]: readFileSync(join(directory, "host-cert.pub"), "utf8") };
      };
      await disguised({ ...trusted, ...certificate("always:forever") }, async () => {
        expect(await hop()).toMatchObject({ code: 0, stdout: "in\n" });
      });
      await refuses({ ...trusted, ...certificate(validity) }, reason);
    });
  });

  it("no certificate ends or begins at any time, so a clock that is wrong keeps nobody out", () => {
    for (const path of [0, 1].flatMap((node) => [
      job.file(node, "host_ed25519-cert.pub"),
      job.file(node, "id_ed25519-cert.pub"),
    ])) {
      const { stdout } = spawnSync("ssh-keygen", ["-L", "-f", path], { encoding: "utf8" });
      expect(stdout).toMatch(/^\s*Valid: forever$/m);
    }
  });
});

describe("host keys are always checked", () => {
  const UNCHECKED = "StrictHostKeyChecking[\"' =]+(no|off|accept-new)";

  it.each([
    ["the installed tree", [join(INSTALL, "lib/gangway")]],
    ["the sources", ["src", "udiImage", "images", "scripts"].map((name) => join(import.meta.dirname, "../..", name))],
  ])("nothing in %s turns the check off", (_, places) => {
    const { status, stdout, stderr } = spawnSync(
      "grep",
      ["-rliaE", UNCHECKED, ...places.map((path) => realpathSync(path))],
      {
        encoding: "utf8",
      },
    );
    expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: "", stderr: "" });
  });

  it("an account that may use the engine still needs the job's key", async () => {
    expect(asUserArgv(USER, [GANGWAY])).toContain(`--reuid=${USER.uid}`);
    const job = await HeldJob.start({ engine: DOCKER });
    try {
      const socket = job.file(0, "ssh");
      const words = ["-F", "none", "-o", `ProxyCommand=${CONNECTOR} ${socket}`, "-o", "ProxyUseFdpass=yes"];
      const known = ["-o", `UserKnownHostsFile=${join(job.directory, "kit/known_hosts")}`, "-o", "BatchMode=yes"];
      const result = await run([SSH, ...words, ...known, "-o", "IdentityFile=none", `${USER.name}@node1`, "true"]);
      expect(result).toMatchObject({ code: 255, stdout: "" });
      expect(result.stderr).toContain("Permission denied (publickey)");
    } finally {
      expect(await job.end()).toBe(0);
    }
  });
});
