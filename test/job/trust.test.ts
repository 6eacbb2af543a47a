import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Address, addressOf, CONNECTOR, logged, ownedBy, SSH, tree } from "./attempt.ts";
import { gangway, IMAGES, inDirectory, OTHER, ROOTLESS, run, type TestUser, USER } from "./harness.ts";
import { HeldJob } from "./held.ts";

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
      expect(result).toMatchObject({ code: words[0] === "shell" ? 68 : 125, stdout: "" });
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
