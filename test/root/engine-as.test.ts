import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import { connect } from "../../src/engine/engine.ts";

const nobody = { uid: 65534, gid: 65534, groups: [] };
let directory: string;
let server: Server;

/** Something that answers as Docker does when it is asked who it is. */
beforeEach(async () => {
  directory = mkdtempSync("/dev/shm/gangway-engine-as-");
  chmodSync(directory, 0o755);
  server = createServer((_request, response) => {
    response.writeHead(200, { "Api-Version": "1.41", Server: "Docker/20.10.24 (linux)" });
    response.end("OK");
  });
  await new Promise<void>((resolve) => server.listen(join(directory, "engine.sock"), resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  rmSync(directory, { recursive: true });
});

describe("root at the engine of a user", () => {
  const identify = async (socketPath: string) => {
    const engine = connect({ socketPath, origin: "config", as: nobody });
    try {
      return await engine.identify();
    } finally {
      engine.close();
    }
  };

  test("connects with that user's rights", async () => {
    chownSync(join(directory, "engine.sock"), nobody.uid, nobody.gid);
    expect(await identify(join(directory, "engine.sock"))).toMatchObject({ kind: "docker", rootless: true });
  });

  test("is not led by a link to a socket that is root's alone", async () => {
    chmodSync(join(directory, "engine.sock"), 0o600);
    const link = join(directory, "podman.sock");
    symlinkSync(join(directory, "engine.sock"), link);
    await expect(identify(link)).rejects.toThrow(EngineError);
    await expect(identify(link)).rejects.toThrow(/no permission on the engine's socket/);
  });

  test("tells it no credentials: it does not pull there", async () => {
    const engine = connect({ socketPath: join(directory, "engine.sock"), origin: "config", as: nobody });
    const pull = engine.pull("registry.example.org/app:1", () => undefined);
    await expect(pull).rejects.toThrow(/root does not pull images into another user's engine/);
    engine.close();
  });
});
