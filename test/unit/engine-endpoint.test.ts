import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import { resolveEndpoint } from "../../src/engine/endpoint.ts";

describe("resolveEndpoint", () => {
  const flag = "unix:///flag.sock";
  const env = { DOCKER_HOST: "unix:///env.sock" };
  const configured = "/config.sock";

  test("takes the flag, then DOCKER_HOST, then the configuration", () => {
    expect(resolveEndpoint({ flag, env, configured, uid: 1 })).toEqual({ socketPath: "/flag.sock", origin: "flag" });
    expect(resolveEndpoint({ env, configured, uid: 1 })).toEqual({ socketPath: "/env.sock", origin: "DOCKER_HOST" });
    expect(resolveEndpoint({ env: { DOCKER_HOST: "" }, configured, uid: 1 })).toEqual({
      socketPath: "/config.sock",
      origin: "config",
    });
  });

  test.each([
    ["tcp://127.0.0.1:2375", /over tcp are not supported/],
    ["ssh://host", /over ssh are not supported/],
    ["npipe:////./pipe/docker", /over npipe/],
    ["unix://relative.sock", /no absolute path/],
    ["docker.sock", /no absolute path/],
  ])("refuses %s", (address, message) => {
    const resolve = () => resolveEndpoint({ env: { DOCKER_HOST: address }, uid: 1 });
    expect(resolve).toThrow(EngineError);
    expect(resolve).toThrow(message);
  });

  describe("by default", () => {
    let runtime: string;
    let server: Server | undefined;

    beforeEach(() => {
      runtime = mkdtempSync(join(tmpdir(), "gangway-runtime-"));
      mkdirSync(join(runtime, "podman"));
    });

    afterEach(async () => {
      await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
      server = undefined;
      rmSync(runtime, { recursive: true, force: true });
    });

    test("finds the user's own Podman", async () => {
      const socketPath = join(runtime, "podman/podman.sock");
      server = createServer();
      await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
      const found = resolveEndpoint({ env: { XDG_RUNTIME_DIR: runtime }, uid: 1 });
      expect(found.origin).toBe("default");
      // A machine that runs its own Docker answers with that one.
      expect([socketPath, "/var/run/docker.sock"]).toContain(found.socketPath);
    });

    test("names Docker's where there is none, and takes no plain file for a socket", () => {
      writeFileSync(join(runtime, "podman/podman.sock"), "");
      chmodSync(join(runtime, "podman/podman.sock"), 0o600);
      const found = resolveEndpoint({ env: { XDG_RUNTIME_DIR: runtime }, uid: 1 });
      expect(["/var/run/docker.sock", "/run/podman/podman.sock"]).toContain(found.socketPath);
    });
  });
});
