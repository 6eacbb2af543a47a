import { chmodSync, chownSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import { connect } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/types.ts";

/* Engines that break: no real one does so when asked to, so here one is played. */

const JSON_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const UPGRADED = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

function frame(stream: number, text: string): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

describe("an engine that breaks", () => {
  let directory: string;
  let socketPath: string;
  let server: Server | undefined;
  let engine: Engine;
  const open = new Set<Socket>();

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gangway-fake-"));
    socketPath = join(directory, "engine.sock");
    engine = connect({ socketPath, origin: "DOCKER_HOST" });
  });

  afterEach(async () => {
    engine.close();
    for (const socket of open) socket.destroy();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
    server = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  /** Answers each request, told by its first line. */
  const play = async (answer: (socket: Socket, request: string) => void): Promise<void> => {
    server = createServer((socket) => {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => open.delete(socket));
      socket.on("data", (data) => answer(socket, data.toString("latin1").split("\r\n")[0] ?? ""));
    });
    await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
  };

  const failureOf = async (promise: Promise<unknown>): Promise<EngineError> => {
    const error: unknown = await promise.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).hint).toBeDefined();
    return error as EngineError;
  };

  test("is not there", async () => {
    const failure = await failureOf(engine.identify());
    expect(failure.message).toContain(`the socket ${socketPath} (named by DOCKER_HOST) does not exist`);
  });

  test("says again and again that it will answer", async () => {
    await play((socket) => socket.write("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)));
    const failure = await failureOf(engine.identify());
    expect(failure.message).toContain("it answers again and again that it will answer");
  });

  test("says once that it will answer, and does", async () => {
    const head = `${JSON_HEAD}Api-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK`;
    await play((socket) => socket.write(`HTTP/1.1 102 Processing\r\n\r\n${head}`));
    expect(await engine.identify()).toMatchObject({ kind: "docker", version: "20.10.24" });
  });

  test("does not end its answer's last fields", async () => {
    await play((socket) => {
      socket.write(`${JSON_HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n${"X-More: 1\r\n".repeat(1000)}`);
    });
    const failure = await failureOf(engine.identify());
    expect(failure.message).toContain("its answer does not end");
  });

  test("left its socket behind", async () => {
    await play(() => undefined);
    const abandoned = join(directory, "abandoned.sock");
    // A server that closes removes its socket; under another name it stays.
    renameSync(socketPath, abandoned);
    await new Promise((resolve) => server?.close(resolve));
    const failure = await failureOf(connect({ socketPath: abandoned, origin: "default" }).identify());
    expect(failure.message).toBe(`the container engine is down: nobody listens on ${abandoned}`);
  });

  test("is closed to the user", async () => {
    await play(() => undefined);
    chmodSync(directory, 0o755);
    chmodSync(socketPath, 0o600);
    process.seteuid?.(65_534);
    try {
      const failure = await failureOf(engine.identify());
      expect(failure.message).toMatch(/^no permission on the engine's socket/);
      expect(failure.hint).toMatch(/open to its owner alone/);
    } finally {
      process.seteuid?.(0);
    }
    chmodSync(socketPath, 0o660);
    chownSync(socketPath, 0, 1);
    process.seteuid?.(65_534);
    try {
      expect((await failureOf(engine.identify())).hint).toMatch(/open to group "daemon", of which you are no member/);
    } finally {
      process.seteuid?.(0);
    }
  });

  test("is something else", async () => {
    await play((socket) => socket.end("HTTP/1.1 200 OK\r\nServer: web\r\nContent-Length: 2\r\n\r\nhi"));
    expect((await failureOf(engine.identify())).message).toMatch(/is no container engine$/);
  });

  test("speaks no HTTP", async () => {
    await play((socket) => socket.end("SSH-2.0-OpenSSH_10.0\r\n"));
    await failureOf(engine.identify());
  });

  test("never answers", async () => {
    await play(() => undefined);
    expect((await failureOf(engine.identify())).message).toMatch(/does not answer$/);
  });

  test("dies in the middle of an answer", async () => {
    await play((socket) => {
      socket.write(`${JSON_HEAD}Content-Length: 1000\r\n\r\n{"Id": "ab`);
      setTimeout(() => socket.destroy(), 20);
    });
    const failure = await failureOf(engine.inspect("x"));
    expect(failure.message).toMatch(/broke off: could not inspect container x/);
  });

  test("dies in the middle of a chunked answer", async () => {
    await play((socket) => {
      socket.write(`${JSON_HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"Id"\r\n`);
      setTimeout(() => socket.destroy(), 20);
    });
    await failureOf(engine.list([]));
  });

  test("answers with what is no JSON", async () => {
    await play((socket) => socket.write(`${JSON_HEAD}Content-Length: 2\r\n\r\n<>`));
    await expect(engine.inspect("x")).rejects.toThrow(/is no JSON/);
  });

  test("closed a kept connection meanwhile: what can be repeated is", async () => {
    let calls = 0;
    await play((socket) => {
      calls += 1;
      // The second request comes over the connection that was kept, and finds it dead.
      if (calls === 2) socket.destroy();
      else socket.write(`${JSON_HEAD}Content-Length: 2\r\n\r\n[]`);
    });
    expect(await engine.list([])).toEqual([]);
    expect(await engine.list([])).toEqual([]);
    expect(calls).toBe(3);
  });

  test("refuses in its own words, which stay one line", async () => {
    const body = JSON.stringify({ message: "first\n  second" });
    await play((socket) => {
      socket.write(`HTTP/1.1 500 Oops\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    });
    const failure = await engine.start("0123456789abcdef".repeat(4)).catch((error: unknown) => error as EngineError);
    expect(failure?.message).toBe("the engine could not start container 0123456789ab: first second");
    expect(failure?.status).toBe(500);
  });

  describe("under a container's streams", () => {
    /** The outputs' connection is told by its query. */
    const playOutputs = (speak: (socket: Socket) => void): Promise<void> =>
      play((socket, request) => {
        socket.write(UPGRADED);
        if (request.includes("stdout=1")) speak(socket);
      });

    test("cuts a frame", async () => {
      await playOutputs((socket) => {
        socket.end(
          Buffer.concat([frame(1, "whole"), frame(2, "also whole"), frame(1, "never finished").subarray(0, 12)]),
        );
      });
      const attachment = await engine.attach("x", false);
      const results = await Promise.allSettled([buffer(attachment.stdout), buffer(attachment.stderr)]);
      for (const result of results) {
        expect(result).toMatchObject({ status: "rejected", reason: expect.any(EngineError) as unknown });
      }
    });

    test("sends what are no frames", async () => {
      await playOutputs((socket) => socket.write("plain text, no frames"));
      const attachment = await engine.attach("x", false);
      await expect(buffer(attachment.stdout)).rejects.toThrow(/damaged/);
    });

    test("reports an error of its own", async () => {
      await playOutputs((socket) => socket.write(frame(3, "no space left\n")));
      const attachment = await engine.attach("x", false);
      await expect(buffer(attachment.stdout)).rejects.toThrow(/the engine reports: no space left/);
    });

    test("sends the first bytes together with the answer's head", async () => {
      await play((socket, request) => {
        if (!request.includes("stdout=1")) socket.write(UPGRADED);
        else socket.end(Buffer.concat([Buffer.from(UPGRADED), frame(1, "early"), frame(2, "bird")]));
      });
      const attachment = await engine.attach("x", false);
      const [stdout, stderr] = await Promise.all([buffer(attachment.stdout), buffer(attachment.stderr)]);
      expect([stdout.toString(), stderr.toString()]).toEqual(["early", "bird"]);
    });

    test("refuses them, with a reason", async () => {
      await play((socket) => socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n{"message":"no such"}'));
      await expect(engine.attach("x", false)).rejects.toThrow("the engine could not attach to container x: no such");
    });

    test("grants the outputs and not the input", async () => {
      await play((socket, request) => {
        if (request.includes("stdout=1")) socket.write(UPGRADED);
        else socket.destroy();
      });
      await expect(engine.attach("x", false)).rejects.toThrow(EngineError);
      // The outputs' connection is not left open.
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(open.size).toBe(0);
    });
  });
});
