import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, GANGWAY, gangway, type RigEngine, run, USER } from "../job/harness.ts";
import { docker, ForeignContainer, importScratch } from "./foreign.ts";

/* An engine that is reached over TLS: a dockerd --tlsverify of its own, which has no socket on this host. */

const IMAGE = "gangway-test/inject-tls";

let directory: string;
let dockerd: ChildProcess;
let engine: RigEngine;
let container: ForeignContainer;

/** A key, and a certificate signed by an authority. */
function sign(name: string, authority: string, extensions: string): void {
  const tool = (words: string[]) => execFileSync("openssl", words, { cwd: directory, stdio: "ignore" });
  writeFileSync(join(directory, "extensions"), `${extensions}\n`);
  const key = ["-newkey", "ed25519", "-nodes", "-keyout", `${name}-key.pem`];
  tool(["req", ...key, "-subj", `/CN=${name}`, "-out", "request"]);
  const by = ["-CA", `${authority}.pem`, "-CAkey", `${authority}-key.pem`, "-CAcreateserial"];
  tool(["x509", "-req", "-in", "request", ...by, "-extfile", "extensions", "-days", "2", "-out", `${name}.pem`]);
}

/** What reaches the engine with DOCKER_CERT_PATH a directory of these. */
function certificates(authority: string, client: string): RigEngine["env"] {
  const path = join(directory, `${authority}-${client}`);
  mkdirSync(path);
  cpSync(join(directory, `${authority}.pem`), join(path, "ca.pem"));
  cpSync(join(directory, `${client}.pem`), join(path, "cert.pem"));
  cpSync(join(directory, `${client}-key.pem`), join(path, "key.pem"));
  chownSync(join(path, "key.pem"), USER.uid, USER.gid);
  return { DOCKER_CERT_PATH: path, DOCKER_TLS_VERIFY: "1" };
}

/** A port that was free just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeAll(async () => {
  // Where overlay2 works, as below the rig.
  directory = mkdtempSync(join(process.env.GANGWAY_TEST_RIG ?? "/var/lib", "tls-"));
  chmodSync(directory, 0o755);
  for (const name of ["ca", "other-ca"]) {
    const words = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", `/CN=${name}`, "-days", "2"];
    const files = ["-keyout", `${name}-key.pem`, "-out", `${name}.pem`];
    execFileSync("openssl", [...words, ...files], { cwd: directory, stdio: "ignore" });
  }
  sign("server", "ca", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth");
  sign("client", "ca", "extendedKeyUsage=clientAuth");
  sign("stranger", "other-ca", "extendedKeyUsage=clientAuth");
  const address = `tcp://127.0.0.1:${await freePort()}`;
  engine = { name: "docker", endpoint: address, env: certificates("ca", "client"), bridged: false };
  writeFileSync(join(directory, "dockerd.json"), "{}");
  const place = (option: string, name: string) => [`--${option}`, join(directory, name)];
  const log = openSync(join(directory, "dockerd.log"), "w");
  dockerd = spawn(
    "dockerd",
    [
      ...["--tlsverify", "-H", address, "--log-level", "warn", ...place("config-file", "dockerd.json")],
      ...[...place("tlscacert", "ca.pem"), ...place("tlscert", "server.pem"), ...place("tlskey", "server-key.pem")],
      ...[...place("data-root", "data"), ...place("exec-root", "run"), ...place("pidfile", "pid")],
      ...["--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs"],
      ...["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"],
    ],
    { env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root" }, stdio: ["ignore", log, log] },
  );
  await eventually("dockerd answers over TLS", 60, async () => {
    const { code } = await run(["docker", "-H", address, "version"], { engine });
    return code === 0;
  });
  await importScratch(engine, IMAGE);
  container = await ForeignContainer.start(engine, ["--network", "none", IMAGE, "/sleep", "1000"]);
}, 90_000);

afterAll(async () => {
  await docker(engine, ["rm", "-f", container.name]);
  const ended = new Promise((resolve) => dockerd.once("exit", resolve));
  dockerd.kill("SIGTERM");
  await ended;
  rmSync(directory, { recursive: true, maxRetries: 20, retryDelay: 100 });
}, 60_000);

it("its containers are entered, and left as they were", async () => {
  const input = randomBytes(1024 * 1024);
  const result = await container.inject(["cat; echo the end; exit 3"], { input });
  expect(result).toMatchObject({ code: 3, stderr: "" });
  expect(result.bytes.equals(Buffer.concat([input, Buffer.from("the end\n")]))).toBe(true);
  expect(await container.inject(["-b", "-"], { input: "ls /sleep\n", words: ["--ssh", "sftp -q"] })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("/sleep\n") as string,
  });
  expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
  expect(await container.diff()).toBe(container.before);
});

it("nothing is launched there, since nothing can be mounted", async () => {
  expect(await gangway(["run", "--image", IMAGE, "true"], { engine })).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("over tcp are not supported") as string,
  });
});

it("who cannot prove to be the engine is sent nothing, verification asked for or not", async () => {
  const env = certificates("other-ca", "client");
  for (const asked of [{ DOCKER_TLS_VERIFY: "" }, { NODE_TLS_REJECT_UNAUTHORIZED: "0" }]) {
    const result = await run([GANGWAY, "inject", container.name, "true"], { engine, env: { ...env, ...asked } });
    expect(result).toMatchObject({ code: 125, stdout: "" });
    expect(result.stderr).toContain("is not the engine");
  }
});

it("the engine lets in nobody whose certificate is another authority's", async () => {
  const result = await run([GANGWAY, "inject", container.name, "true"], {
    engine,
    env: certificates("ca", "stranger"),
  });
  expect(result).toMatchObject({ code: 125, stdout: "" });
  expect(result.stderr).toContain("does not accept the client's certificate");
});
