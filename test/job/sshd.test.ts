import { appendFileSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, logged, ownedBy, tree } from "./attempt.ts";
import { ENGINES, gangway, IMAGES, USER } from "./harness.ts";
import { HeldJob } from "./held.ts";

describe("what the job's sshd is", () => {
  let job: HeldJob;
  beforeAll(async () => {
    job = await HeldJob.start({ image: IMAGES.debian });
  });
  afterAll(async () => {
    expect(await job.end()).toBe(0);
  });

  it("understands every option it is given, and lets in by key alone", async () => {
    const { code, stdout, stderr } = await job.shell([
      "/opt/udiImage/sbin/sshd",
      ...["-T", "-f", "/run/gangway/sshd_config"],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trim().split("\n");
    for (const line of [
      "permitrootlogin no",
      "pubkeyauthentication yes",
      "passwordauthentication no",
      "kbdinteractiveauthentication no",
      "hostbasedauthentication no",
      "permitemptypasswords no",
      "authenticationmethods publickey",
      "permituserenvironment no",
      "usedns no",
      "persourcepenalties no",
      "permittunnel no",
      `allowusers ${USER.name}`,
      "authorizedkeysfile /run/gangway/authorized_keys",
      "authorizedkeyscommand none",
      "trustedusercakeys /run/gangway/authority.pub",
      "authorizedprincipalsfile /run/gangway/principals",
      "revokedkeys /run/gangway/revoked_keys",
      "hostkey /run/gangway/host_ed25519",
      "subsystem sftp /opt/udiImage/libexec/sftp-server",
    ]) {
      expect(lines).toContain(line);
    }
    expect(lines.filter((line) => line.startsWith("hostkey "))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith("allowusers "))).toHaveLength(1);
    const accepted = lines.filter((line) => line.startsWith("acceptenv ")).map((line) => line.slice(10));
    for (const name of ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"]) {
      const matching = accepted.filter((pattern) =>
        new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(name),
      );
      expect({ name, matching }).toEqual({ name, matching: [] });
    }
  });

  it("takes from the client no variable that would be another's: not the loader's, not the account's", async () => {
    const sent = ["LD_PRELOAD", "PATH", "HOME", "SHELL", "USER", "LOGNAME"].map((name) => `${name}=/from/the/client`);
    const host = `node1.${job.id}.job`;
    const result = await job.ssh(["-o", `SetEnv=FOO=taken ${sent.join(" ")}`, host, "/usr/bin/env"]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.split("\n")).toContain("FOO=taken");
    expect(result.stdout).not.toContain("/from/the/client");
  });

  it("refuses a user's key that has been revoked, and everybody when the list is missing", async () => {
    const revoked = job.file(0, "revoked_keys");
    writeFileSync(revoked, readFileSync(join(job.directory, "kit/id_ed25519-cert.pub")));
    const log = await logged(job, 0, async () => {
      expect(await job.shell(["true"])).toMatchObject({ code: 255 });
    });
    expect(log).toMatch(/Authentication key .* revoked/);
    rmSync(revoked);
    expect(await job.shell(["true"])).toMatchObject({ code: 255 });
    ownedBy(USER, revoked, "", 0o600);
    expect(await job.shell(["true"])).toMatchObject({ code: 0 });
  });

  it.each(ENGINES)("has no capability and can get none, nor has its session: $name", async (engine) => {
    const other = await HeldJob.start({ engine, image: IMAGES.debian });
    try {
      const script =
        'for p in /proc/[0-9]*; do echo "$(tr "\\0" " " <$p/cmdline)"; grep -E "^(Cap|NoNewPrivs|Uid)" $p/status; done';
      const { stdout } = await other.shell(["bash", "-c", script]);
      const facts = [...stdout.matchAll(/^(Cap\w+|NoNewPrivs):\s+(\S+)$/gm)].map(
        ([, name, value]) => `${name} ${value}`,
      );
      expect(new Set(facts)).toEqual(
        new Set([...["Inh", "Prm", "Eff", "Bnd", "Amb"].map((set) => `Cap${set} 0000000000000000`), "NoNewPrivs 1"]),
      );
      expect(stdout).toContain("/opt/udiImage/libexec/init ");
      expect(stdout).toContain("sshd-session: ");
      const uids = new Set([...stdout.matchAll(/^Uid:\s+(.*)$/gm)].flatMap(([, ids = ""]) => ids.split(/\s+/)));
      expect(uids).toEqual(new Set([String(USER.uid)]));
    } finally {
      expect(await other.end()).toBe(0);
    }
  });

  it("keeps its log within bounds", async () => {
    const log = job.file(0, "sshd.log");
    appendFileSync(log, `${"x".repeat(99)}\n`.repeat(11_000));
    expect(await job.shell(["true"])).toMatchObject({ code: 0 });
    expect(statSync(log).size).toBeLessThan(10_000);
    expect(readFileSync(log, "utf8")).toContain("Accepted publickey");
    expect(statSync(`${log}.1`)).toMatchObject({ mode: 0o100600, uid: USER.uid });
    expect(statSync(`${log}.1`).size).toBeGreaterThan(1_000_000);
  });
});

describe("where the job's sshd listens", () => {
  /** Addresses and ports that are listened on in the network of a job's container, in hexadecimal as /proc has them. */
  async function listeners(job: HeldJob): Promise<string[]> {
    const files = ["/proc/net/tcp", "/proc/net/tcp6"];
    const { stdout } = await job.shell(["probe", ...files.flatMap((file) => ["read", file, "--"]), "say", "-"]);
    return [...stdout.matchAll(/^\s*\d+: (\S+) \S+ 0A /gm)].map(([, address = ""]) => address);
  }

  async function withJob(words: readonly string[], work: (job: HeldJob) => Promise<void>): Promise<void> {
    const job = await HeldJob.start({ words });
    try {
      await work(job);
    } finally {
      expect(await job.end()).toBe(0);
    }
  }

  it("on every address, port 1204, unless told otherwise", async () => {
    await withJob([], async (job) => {
      expect(await listeners(job)).toEqual([`${"0".repeat(32)}:04B4`]);
    });
  });

  it("on the port that was asked for", async () => {
    await withJob(["--port", "2222"], async (job) => {
      expect(addressOf(job, 0).port).toBe(2222);
      expect(await listeners(job)).toEqual([`${"0".repeat(32)}:08AE`]);
    });
  });

  it("--listen: on that address alone", async () => {
    await withJob(["--listen", "127.0.0.1"], async (job) => {
      expect(await listeners(job)).toEqual(["0100007F:04B4"]);
      expect(await job.shell(["probe", "say", "in"])).toMatchObject({ code: 0, stdout: "in\n" });
    });
  });

  it("--no-listen: on no port; the unix socket serves the owner", async () => {
    await withJob(["--no-listen"], async (job) => {
      expect(await listeners(job)).toEqual([]);
      expect(addressOf(job, 0).port).toBe(0);
      expect(await job.shell(["probe", "say", "in"])).toMatchObject({ code: 0, stdout: "in\n", stderr: "" });
    });
  });

  it.each(ENGINES)("--network none: no network, and still a session: $name", async (engine) => {
    const job = await HeldJob.start({ engine, words: ["--network", "none"] });
    try {
      expect(await listeners(job)).toEqual([]);
      expect(await job.shell(["probe", "say", "in"])).toMatchObject({ code: 0, stdout: "in\n", stderr: "" });
    } finally {
      expect(await job.end()).toBe(0);
    }
  });

  it("several nodes without a port are refused with a reason", async () => {
    const result = await gangway(["run", "--image", IMAGES.bare, "--nodes", "2", "--no-listen", "--", "probe", "who"]);
    expect(result).toMatchObject({ code: 125, stdout: "" });
    expect(result.stderr).toMatch(/^gangway: 2 nodes cannot reach each other with no TCP port\n/);
  });

  it("--no-sshd: no port, no socket, no session", async () => {
    await withJob(["--no-sshd"], async (job) => {
      expect(tree(job.directory).filter((path) => path.endsWith("/ssh"))).toEqual([]);
      const result = await job.shell(["probe", "say", "in"]);
      expect(result).toMatchObject({ code: 76, stdout: "" });
      expect(result.stderr).toMatch(/^gangway: job .* takes no sessions: it was started without an sshd/);
    });
  });
});
