import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chownSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  asUserArgv,
  DOCKER,
  ENGINES,
  GANGWAY,
  gangway,
  IMAGES,
  INSTALL,
  inDirectory,
  OTHER,
  ROOTLESS,
  run,
  type TestUser,
  UDI_IMAGE,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";

const SSH = join(UDI_IMAGE, "bin/ssh");
const CONNECTOR = join(UDI_IMAGE, "libexec/connector");

interface Address {
  readonly host: string;
  readonly port: number;
}

function addressOf(job: HeldJob, node: number): Address {
  const record = JSON.parse(readFileSync(join(job.directory, "job.json"), "utf8")) as {
    nodes: { port: number; addresses: string[] }[];
  };
  const { port = 0, addresses = [] } = record.nodes[node] ?? {};
  return { host: addresses[0] ?? "", port };
}

/** Who tries what: an ssh client with everything set by hand, so that nothing of ours helps or hinders it. */
interface Attempt {
  readonly login: string;
  /** Undefined: no key. */
  readonly key?: string;
  readonly knownHosts: string;
  readonly as?: TestUser;
}

async function attempt({ host, port }: Address, { login, key, knownHosts, as = USER }: Attempt) {
  const options = {
    BatchMode: "yes",
    IdentitiesOnly: "yes",
    StrictHostKeyChecking: "yes",
    UserKnownHostsFile: knownHosts,
    GlobalKnownHostsFile: "/dev/null",
    PubkeyAuthentication: key === undefined ? "no" : "yes",
  };
  const words = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const identity = key === undefined ? [] : ["-i", key];
  return await run(
    [SSH, "-F", "none", ...words, ...identity, "-p", String(port), `${login}@${host}`, "probe", "say", "in"],
    { user: as },
  );
}

/** What sshd has noted while something was going on, read as the job's owner. */
async function logged(job: HeldJob, node: number, work: () => Promise<unknown>): Promise<string> {
  const path = job.file(node, "sshd.log");
  const before = statSync(path).size;
  await work();
  const { bytes } = await run(["cat", path]);
  return bytes.subarray(before).toString();
}

function ownedBy(user: TestUser, path: string, content: string, mode: number): string {
  writeFileSync(path, content, { mode });
  chownSync(path, user.uid, user.gid);
  return path;
}

function keygen(...words: readonly string[]): void {
  const { status, stderr } = spawnSync("ssh-keygen", ["-q", ...words], { encoding: "utf8" });
  if (status !== 0) throw new Error(`ssh-keygen ${words.join(" ")}: ${stderr}`);
}

/** Everything below a directory, itself among it. */
function tree(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return [path, ...readdirSync(path).flatMap((name) => tree(join(path, name)))];
}

/** The host's processes that have this in their environment. */
function processesWith(variable: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(join("/proc", pid, "environ"), "latin1")
          .split("\0")
          .includes(variable);
      } catch {
        return false;
      }
    });
}

describe("only the job's user gets in", () => {
  let job: HeldJob;
  let stranger: HeldJob;
  beforeAll(async () => {
    [job, stranger] = await Promise.all([
      HeldJob.start({ image: IMAGES.debian, nodes: 2 }),
      HeldJob.start({ image: IMAGES.debian }),
    ]);
  });
  afterAll(async () => {
    expect(await Promise.all([job.end(), stranger.end()])).toEqual([0, 0]);
  });

  const kit = (name: string) => join(job.directory, "kit", name);

  it("lets the owner in by the access kit's key, over the network as well", async () => {
    const key = kit("id_ed25519");
    const log = await logged(job, 0, async () => {
      const result = await attempt(addressOf(job, 0), { login: USER.name, key, knownHosts: kit("known_hosts") });
      expect(result).toMatchObject({ code: 0, stdout: "in\n", stderr: "" });
    });
    expect(log).toMatch(new RegExp(`Accepted publickey for ${USER.name} from \\S+ port \\d+ ssh2: ED25519`));
  });

  it("refuses another key, and says which in the log", async () => {
    await inDirectory(async (directory) => {
      const key = join(directory, "key");
      expect(await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])).toMatchObject({ code: 0 });
      const fingerprint = (await run(["ssh-keygen", "-lf", key])).stdout.split(" ")[1] ?? "?";
      const log = await logged(job, 0, async () => {
        const result = await attempt(addressOf(job, 0), { login: USER.name, key, knownHosts: kit("known_hosts") });
        expect(result).toMatchObject({ code: 255, stdout: "" });
        expect(result.stderr).toContain("Permission denied (publickey)");
      });
      expect(log).toMatch(new RegExp(`Failed publickey for ${USER.name} from \\S+ port \\d+ ssh2: ED25519 `));
      expect(log).toContain(fingerprint);
      expect(log).not.toContain("Accepted");
    });
  });

  it("refuses whoever has no key; passwords are not even asked for", async () => {
    const log = await logged(job, 0, async () => {
      const result = await attempt(addressOf(job, 0), { login: USER.name, knownHosts: kit("known_hosts") });
      expect(result).toMatchObject({ code: 255, stdout: "" });
      expect(result.stderr).toContain("Permission denied (publickey).");
    });
    expect(log).toMatch(new RegExp(`Connection closed by authenticating user ${USER.name} .* \\[preauth\\]`));
  });

  it.each([
    ["root", "root", /User root not allowed because this sshd belongs to uid \d+, not to uid 0/],
    ["an account of the image", "daemon", /User daemon not allowed because this sshd belongs to uid \d+, not to uid 1/],
    ["another user of the host", OTHER.name, new RegExp(`Invalid user ${OTHER.name} from `)],
  ])("refuses another name, with the owner's own key: %s", async (_, login, line) => {
    const key = kit("id_ed25519");
    const log = await logged(job, 0, async () => {
      const result = await attempt(addressOf(job, 0), { login, key, knownHosts: kit("known_hosts") });
      expect(result).toMatchObject({ code: 255, stdout: "" });
    });
    expect(log).toMatch(line);
    expect(log).not.toContain("Accepted");
  });

  it("refuses another user of the host over the network", async () => {
    await inDirectory(async (directory) => {
      const key = join(directory, "key");
      await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], { user: OTHER });
      const known = ownedBy(OTHER, join(directory, "known"), job.read(0, "known_hosts"), 0o644);
      const log = await logged(job, 0, async () => {
        for (const login of [USER.name, OTHER.name, "root"]) {
          const result = await attempt(addressOf(job, 0), { login, key, knownHosts: known, as: OTHER });
          expect(result).toMatchObject({ code: 255, stdout: "" });
          expect(result.stderr).toContain("Permission denied (publickey)");
        }
      });
      expect(log).toContain(`Failed publickey for ${USER.name} from `);
      expect(log).toContain(`Invalid user ${OTHER.name} from `);
      expect(log).toContain("User root not allowed because");
      expect(log).not.toContain("Accepted");
    }, OTHER);
  });

  it("shows another user of the host not one file of the job's directory", async () => {
    const paths = tree(job.directory);
    expect(paths.length).toBeGreaterThan(45);
    const look = 'for path; do if [ -e "$path" ] || cat "$path" || ls "$path"; then echo "$path"; fi; done 2>/dev/null';
    const result = await run(["bash", "-c", look, "look", ...paths], { user: OTHER });
    expect(result.stdout).toBe("");
    // The same words do show them to the owner.
    const seen = await run(["bash", "-c", 'for path; do [ ! -e "$path" ] || echo "$path"; done', "look", ...paths]);
    expect(seen.stdout.trim().split("\n")).toEqual(paths);
  });

  it("lets another user of the host through to no unix socket", async () => {
    const sockets = tree(job.directory).filter((path) => statSync(path).isSocket());
    expect(sockets.map((path) => path.slice(job.directory.length)).sort()).toEqual([
      "/0/report",
      "/0/ssh",
      "/1/report",
      "/1/ssh",
      "/launcher.sock",
    ]);
    for (const path of sockets) {
      const result = await run([CONNECTOR, path], { user: OTHER });
      expect(result).toMatchObject({ code: 1, stdout: "" });
      expect(result.stderr).toMatch(/Permission denied/);
    }
  });

  it("shows another user of the host nothing by /proc", async () => {
    const pids = processesWith(`GANGWAY_JOB_ID=${job.id}`);
    expect(pids.length).toBeGreaterThanOrEqual(2);
    const paths = pids.flatMap((pid) =>
      [
        "environ",
        "root/run/gangway/id_ed25519",
        "root/run/gangway/authority.pub",
        "root/etc/passwd",
        "cwd/.",
        "fd/0",
        "maps",
        "mem",
      ].map((name) => join("/proc", pid, name)),
    );
    const look = 'for path; do if head -c 1 "$path" || ls "$path"/; then echo "$path"; fi; done 2>/dev/null';
    expect((await run(["bash", "-c", look, "look", ...paths], { user: OTHER })).stdout).toBe("");
  });

  it("does not serve another user of the host by its own commands", async () => {
    for (const words of [
      ["shell", job.id, "--", "probe", "say", "in"],
      ["stop", job.id],
      ["inspect", job.id],
    ]) {
      const result = await gangway(words, { user: OTHER });
      expect(result).toMatchObject({ code: 125, stdout: "" });
      expect(result.stderr).toMatch(/permission|not allowed|denied/i);
    }
  });

  it("does not take another user of the host for the owner on a shared network either", async () => {
    const shared = await HeldJob.start({ words: ["--network", "host"] });
    try {
      await inDirectory(async (directory) => {
        const key = join(directory, "key");
        await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], { user: OTHER });
        const known = ownedBy(OTHER, join(directory, "known"), shared.read(0, "known_hosts"), 0o644);
        const address = { host: "127.0.0.1", port: addressOf(shared, 0).port };
        const log = await logged(shared, 0, async () => {
          // Whose connection it is the kernel says: no sshd is started for it, whatever he would check or offer.
          const named = ["-o", "HostKeyAlias=node1", "-o", `UserKnownHostsFile=${known}`, "-o", "BatchMode=yes"];
          const words = [SSH, "-F", "none", ...named, "-i", key, "-p", String(address.port), "-l", USER.name];
          const result = await run([...words, address.host, "probe", "say", "in"], { user: OTHER });
          expect(result).toMatchObject({ code: 255, stdout: "" });
          expect(result.stderr).toMatch(/kex_exchange_identification|Connection (closed|reset)/);
          // The owner gets as far as the certificate, which names node and job: on a shared network no address means this node alone.
          const own = await attempt(address, {
            login: USER.name,
            key: join(shared.directory, "kit/id_ed25519"),
            knownHosts: shared.file(0, "known_hosts"),
          });
          expect(own.stderr).toContain("Certificate invalid: name is not a listed principal");
        });
        expect(log).not.toMatch(/(Failed|Accepted) publickey/);
      }, OTHER);
    } finally {
      expect(await shared.end()).toBe(0);
    }
  });

  describe("from another job's container, of the same user", () => {
    const from = async (known: string) => {
      const { host, port } = addressOf(job, 0);
      const own = ["-i", "/run/gangway/id_ed25519", "-o", "CertificateFile=/run/gangway/id_ed25519-cert.pub"];
      const strict = ["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${known}`];
      return await stranger.shell(["ssh", ...own, ...strict, "-p", String(port), host, "probe", "say", "in"]);
    };

    it("that job's keys and certificate are refused, and the log says by whose authority they came", async () => {
      // Its client would not go on: the other job's authority is made known to it here, public as it is.
      writeFileSync(stranger.file(0, "other_known_hosts"), job.read(0, "known_hosts"), { mode: 0o644 });
      const authority = await run(["ssh-keygen", "-lf", stranger.file(0, "authority.pub")]);
      const fingerprint = authority.stdout.split(" ")[1] ?? "?";
      const log = await logged(job, 0, async () => {
        const result = await from("/run/gangway/other_known_hosts");
        expect(result).toMatchObject({ code: 255, stdout: "" });
        expect(result.stderr).toContain("Permission denied (publickey)");
      });
      expect(log).toMatch(new RegExp(`Failed publickey for ${USER.name} .* ID ${stranger.id}-node1 `));
      expect(log).toContain(`CA ED25519 ${fingerprint}`);
      expect(log).not.toContain("Accepted");
    });

    it("its client refuses the other job's nodes", async () => {
      const result = await from("/run/gangway/known_hosts");
      expect(result).toMatchObject({ code: 255, stdout: "" });
      expect(result.stderr).toMatch(/No ED25519 host key is known for .* and you have requested strict checking/);
    });

    it("knows neither the other job's names nor its files", async () => {
      const name = await stranger.shell(["ssh", `node2.${job.id}.job`, "true"]);
      expect(name).toMatchObject({ code: 255, stdout: "" });
      const files = await stranger.shell(["find", "/", "-xdev", "-path", `*${job.id}*`]);
      expect(files.stdout).toBe("");
      expect((await stranger.shell(["ls", job.directory])).code).not.toBe(0);
    });
  });
});

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
      expect(result).toMatchObject({ code: 125, stdout: "" });
      expect(result.stderr).toMatch(/^gangway: the job cannot be entered/);
    });
  });
});

describe("rootless Podman", () => {
  it("keeps the same people out", async () => {
    const job = await HeldJob.start({ engine: ROOTLESS });
    try {
      const known = join(job.directory, "kit/known_hosts");
      const key = join(job.directory, "kit/id_ed25519");
      const port = addressOf(job, 0).port;
      const words = ["-o", "HostKeyAlias=node1", "-o", `UserKnownHostsFile=${known}`, "-o", "BatchMode=yes", "-i", key];
      const log = await logged(job, 0, async () => {
        for (const login of ["root", OTHER.name]) {
          const result = await run([SSH, "-F", "none", ...words, "-p", String(port), "-l", login, "127.0.0.1", "true"]);
          expect(result).toMatchObject({ code: 255, stdout: "" });
        }
        const own = [SSH, "-F", "none", ...words, "-p", String(port), "-l", USER.name, "127.0.0.1"];
        expect(await run([...own, "probe", "say", "in"])).toMatchObject({ code: 0, stdout: "in\n" });
      });
      expect(log).toMatch(/User root not allowed because/);
      expect(log).toContain(`Invalid user ${OTHER.name} from `);
      const look = 'for path; do [ ! -e "$path" ] || echo "$path"; done';
      expect((await run(["bash", "-c", look, "look", ...tree(job.directory)], { user: OTHER })).stdout).toBe("");
    } finally {
      expect(await job.end()).toBe(0);
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
