import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import { runHelper } from "../../src/engine/credential-helper.ts";
import { credentialFiles, findCredentials } from "../../src/engine/credentials.ts";
import { parseReference } from "../../src/engine/reference.ts";

const HUB = "https://index.docker.io/v1/";

function basic(login: string): { auth: string } {
  return { auth: Buffer.from(login).toString("base64") };
}

describe("credentials for a registry", () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "gangway-credentials-"));
  });

  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const write = (path: string, config: unknown): string => {
    const file = join(home, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof config === "string" ? config : JSON.stringify(config));
    return file;
  };

  const asked: [string, string][] = [];
  const find = (image: string, env: NodeJS.ProcessEnv = {}) =>
    findCredentials(parseReference(image), { HOME: home, ...env }, (name, server) => {
      asked.push([name, server]);
      if (name === "empty") return Promise.resolve(undefined);
      return Promise.resolve(name === "token" ? { username: "<token>", secret: "t" } : { username: name, secret: "s" });
    });

  test("are looked for in the order of containers-auth.json(5)", () => {
    expect(credentialFiles({ HOME: "/h", XDG_RUNTIME_DIR: "/r" })).toEqual([
      "/r/containers/auth.json",
      "/h/.config/containers/auth.json",
      "/h/.docker/config.json",
    ]);
    expect(credentialFiles({ HOME: "/h", REGISTRY_AUTH_FILE: "/a", DOCKER_CONFIG: "/d" })).toEqual([
      "/a",
      "/d/config.json",
    ]);
  });

  test("are none where nobody logged in", async () => {
    expect(await find("host.example/app")).toBeUndefined();
    write(".docker/config.json", { auths: { "other.example": basic("u:p"), "host.example": {} } });
    expect(await find("host.example/app")).toBeUndefined();
  });

  test.each([
    ["host.example:5000/group/app", "host.example:5000", "host.example:5000"],
    ["host.example/app", "https://host.example", "host.example"],
    ["host.example/app", "https://host.example/v2/", "host.example"],
    ["debian", HUB, HUB],
    ["docker.io/library/debian", "docker.io", HUB],
  ])("of %s are found under %s", async (image, key, serveraddress) => {
    write(".docker/config.json", { auths: { [key]: basic("user:pass:with:colons") } });
    expect(await find(image)).toEqual({ username: "user", password: "pass:with:colons", serveraddress });
  });

  test("are those of the namespace where there are any", async () => {
    const auths = {
      "host.example": basic("all:x"),
      "host.example/group": basic("group:x"),
      "host.example/group/app": basic("app:x"),
    };
    write(".config/containers/auth.json", { auths });
    expect(await find("host.example/group/app")).toMatchObject({ username: "app" });
    expect(await find("host.example/group/other")).toMatchObject({ username: "group" });
    expect(await find("host.example/other")).toMatchObject({ username: "all" });
  });

  test("are the first file's that has some", async () => {
    write(".docker/config.json", { auths: { "host.example": basic("docker:x"), "only.example": basic("only:x") } });
    write("run/containers/auth.json", { auths: { "host.example": basic("podman:x") } });
    const env = { XDG_RUNTIME_DIR: join(home, "run") };
    expect(await find("host.example/app", env)).toMatchObject({ username: "podman" });
    expect(await find("only.example/app", env)).toMatchObject({ username: "only" });
    const named = write("named.json", { auths: { "host.example": basic("named:x") } });
    expect(await find("host.example/app", { ...env, REGISTRY_AUTH_FILE: named })).toMatchObject({ username: "named" });
  });

  test("may be tokens", async () => {
    write(".docker/config.json", {
      auths: { "a.example": { identitytoken: "i", ...basic("u:p") }, "b.example": { registrytoken: "r" } },
    });
    expect(await find("a.example/app")).toEqual({ identitytoken: "i", serveraddress: "a.example" });
    expect(await find("b.example/app")).toEqual({ registrytoken: "r", serveraddress: "b.example" });
  });

  test("are asked of the registry's own helper, then of the usual one, then looked up", async () => {
    asked.length = 0;
    write(".docker/config.json", {
      credsStore: "usual",
      credHelpers: { "own.example": "own", "token.example": "token", "empty.example": "empty" },
      auths: { "empty.example": basic("file:x") },
    });
    expect(await find("own.example/app")).toEqual({ username: "own", password: "s", serveraddress: "own.example" });
    expect(await find("debian")).toEqual({ username: "usual", password: "s", serveraddress: HUB });
    expect(await find("token.example/app")).toEqual({ identitytoken: "t", serveraddress: "token.example" });
    expect(await find("empty.example/app")).toMatchObject({ username: "file" });
    expect(asked).toContainEqual(["usual", HUB]);
  });

  test("in a damaged file are an error that names the file and nothing in it", async () => {
    const file = write(".docker/config.json", '{"auths": {"host.example": {"auth": c2VjcmV0}}}');
    const error: unknown = await find("host.example/app").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EngineError);
    expect(String(error)).toContain(file);
    expect(inspect(error, { depth: null })).not.toContain("c2Vj");
  });
});

describe("a credential helper", () => {
  let directory: string;
  const path = process.env.PATH;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gangway-helper-"));
    process.env.PATH = `${directory}:${path}`;
  });

  afterEach(() => {
    process.env.PATH = path;
    rmSync(directory, { recursive: true, force: true });
  });

  const install = (script: string): void =>
    writeFileSync(join(directory, "docker-credential-fake"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

  test("is asked by its standard input", async () => {
    install(
      `[ "$1" = get ] || exit 9; read -r s; printf '{"ServerURL":"%s","Username":"u","Secret":"of %s"}' "$s" "$s"`,
    );
    expect(await runHelper("fake", "host.example")).toEqual({ username: "u", secret: "of host.example" });
  });

  test("may have nothing", async () => {
    install("echo credentials not found in native keychain; exit 1");
    expect(await runHelper("fake", "host.example")).toBeUndefined();
  });

  test("may fail", async () => {
    install("echo the key ring is locked >&2; exit 2");
    await expect(runHelper("fake", "host.example")).rejects.toThrow(
      /fake failed for host.example: the key ring is locked/,
    );
  });

  test("may answer nonsense, which is not repeated", async () => {
    install("echo my-secret");
    await expect(runHelper("fake", "host.example")).rejects.toThrow(
      "docker-credential-fake answered with what is no JSON",
    );
  });

  test("may be missing, or no program's name", async () => {
    await expect(runHelper("gangway-nobody", "host.example")).rejects.toThrow(/cannot be run/);
    await expect(runHelper("../x", "host.example")).rejects.toThrow(/no name/);
  });
});
