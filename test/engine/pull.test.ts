import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import type { PullProgress } from "../../src/engine/types.ts";
import { Registry } from "./registry.ts";
import { open, raw, testEngines } from "./support.ts";

const LOGIN = "alice:se:cr/et+?~";

function findDocker() {
  const found = testEngines().find((engine) => engine.name === "docker");
  if (found === undefined) throw new Error("no Docker among the test engines");
  return found;
}

/* Docker alone takes a loopback registry without TLS; Podman would need its host's registries.conf changed for it. */
describe("pulling", () => {
  const docker = findDocker();
  let registry: Registry;
  let address: string;
  let home: string;
  const pulled: string[] = [];

  beforeEach(async () => {
    const archive = pack();
    // Of random content, so that no engine has the layer from an earlier test.
    archive.entry({ name: "file" }, randomBytes(100_000));
    archive.finalize();
    registry = new Registry(await buffer(archive), LOGIN);
    address = await registry.listen();
    home = mkdtempSync(join(tmpdir(), "gangway-home-"));
  });

  afterEach(async () => {
    registry.close();
    rmSync(home, { recursive: true, force: true });
    for (const image of pulled.splice(0)) await raw(docker.socket, "DELETE", `/images/${image}?force=1`);
  });

  const auths = (login: string): string =>
    JSON.stringify({ auths: { [address]: { auth: Buffer.from(login).toString("base64") } } });

  const write = (path: string, content: string): void => {
    const file = join(home, path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, content, { mode: 0o600 });
  };

  const pull = async (
    reference: string,
    env: NodeJS.ProcessEnv = {},
    signal?: AbortSignal,
    onProgress: (progress: PullProgress) => void = () => undefined,
  ): Promise<void> => {
    const engine = open(docker, { HOME: home, ...env });
    try {
      await engine.pull(reference, onProgress, signal);
      pulled.push(reference);
      expect(await engine.inspectImage(reference)).toMatchObject({
        env: expect.arrayContaining(["PULLED=yes"]) as string[],
      });
    } finally {
      engine.close();
    }
  };

  test("takes the password that docker login left, and tells of each layer", async () => {
    write(".docker/config.json", auths(LOGIN));
    const seen: PullProgress[] = [];
    await pull(`${address}/group/app:1.0`, {}, undefined, (progress) => seen.push(progress));
    expect(registry.logins).toContain(LOGIN);
    const layers = seen.filter((progress) => /^[0-9a-f]{12}$/.test(progress.layer));
    expect(layers.map((progress) => progress.status)).toEqual(
      expect.arrayContaining(["Pulling fs layer", "Pull complete"]),
    );
    expect(layers.some((progress) => (progress.total ?? 0) > 0 && progress.current !== undefined)).toBe(true);
  });

  test("takes an image by its digest", async () => {
    write(".docker/config.json", auths(LOGIN));
    await pull(`${address}/app@${registry.manifestDigest}`);
  });

  test("takes the password that podman login left", async () => {
    write(".docker/config.json", auths("alice:wrong"));
    write("run/containers/auth.json", auths(LOGIN));
    await pull(`${address}/app:1.0`, { XDG_RUNTIME_DIR: join(home, "run") });
  });

  test("asks a credential helper", async () => {
    write(".docker/config.json", JSON.stringify({ credHelpers: { [address]: "gangway-test" } }));
    const [name = "", ...password] = LOGIN.split(":");
    const answer = JSON.stringify({ ServerURL: address, Username: name, Secret: password.join(":") });
    write(
      "bin/docker-credential-gangway-test",
      `#!/bin/sh\n[ "$1" = get ] && read -r server; [ "$server" = ${address} ] && echo '${answer}'\n`,
    );
    chmodSync(join(home, "bin/docker-credential-gangway-test"), 0o755);
    const path = process.env.PATH;
    process.env.PATH = `${join(home, "bin")}:${path}`;
    try {
      await pull(`${address}/app:1.0`);
    } finally {
      process.env.PATH = path;
    }
  });

  const failureOf = async (promise: Promise<unknown>): Promise<EngineError> => {
    const error: unknown = await promise.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).not.toMatch(/\n|HTTP code/);
    return error as EngineError;
  };

  test("says that nobody is logged in", async () => {
    const failure = await failureOf(pull(`${address}/app:1.0`));
    expect(failure.message).toContain(`could not pull image "${address}/app:1.0"`);
    expect(failure.hint).toMatch(/^you are not logged in/);
  });

  test("says that the password is wrong, and does not tell it", async () => {
    write(".docker/config.json", auths("alice:wrong-password"));
    const failure = await failureOf(pull(`${address}/app:1.0`));
    expect(failure.hint).toMatch(/does not take your credentials/);
    expect(`${failure.message} ${failure.hint}`).not.toContain("wrong-password");
  });

  test("says that there is no such tag", async () => {
    write(".docker/config.json", auths(LOGIN));
    const failure = await failureOf(pull(`${address}/app:2.0`));
    expect(failure.hint).toMatch(/check its name and tag/);
  });

  test("stops when told so, and the engine with it", async () => {
    write(".docker/config.json", auths(LOGIN));
    let release: () => void = () => undefined;
    registry.gate = new Promise((resolve) => {
      release = resolve;
    });
    const abort = new AbortController();
    const pulling = pull(`${address}/app:1.0`, {}, abort.signal, ({ status }) => {
      if (status === "Pulling fs layer") setTimeout(() => abort.abort(), 50);
    });
    await expect(pulling).rejects.toThrow(/aborted/);
    release();
    // What it was told to stop it does not finish now that it could.
    await sleep(500);
    expect((await raw(docker.socket, "GET", `/images/${address}/app:1.0/json`)).status).toBe(404);
  });

  test.each(testEngines())("says why $name cannot reach a registry", async (target) => {
    registry.close();
    const engine = open(target, { HOME: home });
    const failure = await failureOf(engine.pull(`${address}/app:1.0`, () => undefined));
    engine.close();
    expect(failure.message).toMatch(/connection refused/);
    expect(failure.hint).toMatch(/cannot reach the registry/);
  });

  test("refuses what is no name, before it asks anybody", async () => {
    expect((await failureOf(pull("Not A Name"))).message).toBe('"Not A Name" is no name of an image');
  });
});
