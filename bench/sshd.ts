import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { USER } from "../test/job/harness.ts";

/** The distribution's own sshd, with its own configuration, on a port of the loopback interface. */
export interface DistributionSshd {
  /** Start of a command line by which the user reaches it; the remote command follows. */
  readonly client: readonly string[];
  /** The same for scp; sources and `127.0.0.1:TARGET` follow. */
  readonly copy: readonly string[];
  readonly version: string;
  stop(): Promise<void>;
}

const SSH = "/usr/bin/ssh";
const SCP = "/usr/bin/scp";
const SSHD = "/usr/sbin/sshd";

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

function makeKey(path: string): void {
  if (!existsSync(path)) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path]);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/**
 * Starts it. What is given besides the defaults: where it listens, keys of its own, and which host key to expect.
 *
 * @param directory the user's; keys are made in it
 */
export async function startSshd(directory: string): Promise<DistributionSshd> {
  const userKey = join(directory, "id_ed25519");
  const hostKey = join(directory, "host_ed25519");
  const authorized = join(directory, "authorized_keys");
  const knownHosts = join(directory, "known_hosts");
  makeKey(userKey);
  makeKey(hostKey);
  copyFileSync(`${userKey}.pub`, authorized);
  const port = await freePort();
  const hostLine = execFileSync("ssh-keygen", ["-y", "-f", hostKey], { encoding: "utf8" });
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${hostLine}`);
  for (const path of [userKey, authorized, knownHosts]) execFileSync("chown", [`${USER.uid}:${USER.gid}`, path]);
  for (const path of [authorized, knownHosts]) chmodSync(path, 0o600);
  mkdirSync("/run/sshd", { recursive: true });
  const places = [`HostKey=${hostKey}`, `AuthorizedKeysFile=${authorized}`, "ListenAddress=127.0.0.1", "PidFile=none"];
  const options = places.flatMap((option) => ["-o", option]);
  const child = spawn(SSHD, ["-D", "-p", String(port), ...options], { stdio: ["ignore", "inherit", "inherit"] });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async () => {
    child.kill();
    await gone;
  };
  const deadline = Date.now() + 10_000;
  while (!(await answers(port))) {
    if (Date.now() > deadline || child.exitCode !== null) {
      await stop();
      throw new Error("the distribution's sshd does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const clientOptions = [`UserKnownHostsFile=${knownHosts}`, "BatchMode=yes"].flatMap((option) => ["-o", option]);
  const { stderr } = spawnVersion();
  return {
    client: [SSH, "-p", String(port), "-i", userKey, ...clientOptions, "127.0.0.1"],
    copy: [SCP, "-P", String(port), "-i", userKey, ...clientOptions],
    version: stderr,
    stop,
  };
}

/** "OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL …" up to the comma. */
function spawnVersion(): { readonly stderr: string } {
  const text = execFileSync("sh", ["-c", `${SSH} -V 2>&1`], { encoding: "utf8" });
  return { stderr: text.split(/[ ,]/)[0] ?? "" };
}
