import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { resolveForeignEndpoint } from "../../src/engine/foreign-endpoint.ts";

let certificates: string;
beforeAll(() => {
  certificates = mkdtempSync(join(tmpdir(), "gangway-tls-"));
  const words = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=ca", "-days", "2"];
  execFileSync("openssl", [...words, "-keyout", "key.pem", "-out", "ca.pem"], { cwd: certificates, stdio: "ignore" });
  execFileSync("cp", ["ca.pem", "cert.pem"], { cwd: certificates });
});
afterAll(() => rmSync(certificates, { recursive: true }));

const resolve = async (address: string, env: NodeJS.ProcessEnv = { DOCKER_CERT_PATH: certificates }) =>
  await resolveForeignEndpoint({ env: { DOCKER_HOST: address, ...env }, uid: 1000, home: "/nonexistent" });

it.each(["tcp://engine:2376", "tcp://10.0.0.1", "tcp://[fd00::1]:2376/", "tcp://engine.example.org:443"])(
  "%s with certificates is an engine's address",
  async (address) => {
    const { socketPath, origin, dial } = await resolve(address);
    expect([socketPath, origin, typeof dial]).toEqual([address, "DOCKER_HOST", "function"]);
  },
);

it("a socket is one as ever", async () => {
  expect(await resolve("unix:///run/x.sock")).toEqual({ socketPath: "/run/x.sock", origin: "DOCKER_HOST" });
});

it.each(["tcp://", "tcp://host:0", "tcp://host:70000", "tcp://user@host", "tcp://host/path", "tcp://a b"])(
  "%s is none",
  async (address) => await expect(resolve(address)).rejects.toThrow("is no address of an engine"),
);

it("without certificates nothing is spoken to, whatever is not asked to be verified", async () => {
  await expect(resolve("tcp://engine:2375", {})).rejects.toThrow("without TLS no engine is spoken to");
  await expect(resolve("tcp://engine:2375", { DOCKER_TLS_VERIFY: "" })).rejects.toThrow("without TLS");
  await expect(resolve("tcp://engine:2376", { DOCKER_TLS_VERIFY: "1" })).rejects.toThrow(
    /\.docker\/ca\.pem cannot be read/,
  );
});

it("what is no certificate, or no key, is said before anything is sent", async () => {
  const broken = mkdtempSync(join(tmpdir(), "gangway-tls-"));
  execFileSync("cp", ["ca.pem", "cert.pem", broken], { cwd: certificates });
  writeFileSync(join(broken, "key.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  await expect(resolve("tcp://engine", { DOCKER_CERT_PATH: broken })).rejects.toThrow(
    "key.pem is not what its name says",
  );
  rmSync(broken, { recursive: true });
});
