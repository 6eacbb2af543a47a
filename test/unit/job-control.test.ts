import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlChannel, formatLauncherMessage, type InitMessage, parseInitLine } from "../../src/job/control.ts";

describe("a line of init's", () => {
  it.each<[string, InitMessage]>([
    ["hello 1", { kind: "hello", version: 1 }],
    ["up 1204 10.0.0.2 fd00::2", { kind: "up", port: 1204, addresses: ["10.0.0.2", "fd00::2"] }],
    ["up 0", { kind: "up", port: 0, addresses: [] }],
    ["started 7", { kind: "started", pid: 7 }],
    ["failed 2 sh: not found in PATH", { kind: "failed", errno: 2, text: "sh: not found in PATH" }],
    ["stopped 20", { kind: "stopped", signal: 20 }],
    ["continued", { kind: "continued" }],
    ["exit 255", { kind: "exit", code: 255 }],
    ["signal 11 1", { kind: "signal", signal: 11, core: true }],
    ["signal 9 0", { kind: "signal", signal: 9, core: false }],
    ["sessions 3", { kind: "sessions", count: 3 }],
    ["lingering 2", { kind: "lingering", count: 2 }],
    ["error listen 1204: Address already in use", { kind: "error", text: "listen 1204: Address already in use" }],
  ])("%s", (line, message) => {
    expect(parseInitLine(line)).toEqual(message);
  });

  it.each([
    "",
    "exit",
    "exit 256",
    "exit -1",
    "exit 0x1",
    "exit 1e1",
    "signal 0 0",
    "signal 65 0",
    "up 65536",
    "up port",
    "started 0",
    "EXIT 0",
    "later 1",
    "constructor",
    "__proto__ 1",
  ])("%j is ignored: damaged, or of a newer init", (line) => {
    expect(parseInitLine(line)).toBeUndefined();
  });

  it("never throws, whatever comes out of a container", () => {
    const words = ["hello", "up", "started", "failed", "stopped", "exit", "signal", "sessions", "lingering", "error"];
    const line = fc.tuple(fc.constantFrom(...words), fc.string({ unit: "binary" })).map((parts) => parts.join(" "));
    fc.assert(
      fc.property(fc.oneof(line, fc.string({ unit: "binary" })), (text) => {
        const message = parseInitLine(text);
        if (message?.kind === "exit") expect(message.code).toBeLessThan(256);
        if (message?.kind === "up") for (const address of message.addresses) expect(address).toMatch(/^[\da-fA-F.:]+$/);
      }),
    );
  });
});

describe("what the launcher says", () => {
  it("is a line each", () => {
    expect(formatLauncherMessage("go")).toBe("go\n");
    expect(formatLauncherMessage({ signal: 15 })).toBe("signal 15\n");
    expect(formatLauncherMessage({ rows: 24, columns: 80 })).toBe("winsize 24 80\n");
  });
});

describe("the channel", () => {
  let directory: string;
  let heard: InitMessage[];
  let ends: { count: number };
  let channel: ControlChannel;
  let init: Socket;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "gangway-unit-"));
    heard = [];
    // Each channel's own: the one of the test before may end late.
    const own = { count: 0 };
    ends = own;
    const events = {
      onMessage: (message: InitMessage) => heard.push(message),
      onClose: () => {
        own.count += 1;
      },
    };
    channel = new ControlChannel("node1", join(directory, "ctl"), events);
    init = await connected();
  });

  afterEach(() => {
    init.destroy();
    channel.close();
    rmSync(directory, { recursive: true });
  });

  async function connected(): Promise<Socket> {
    const socket = createConnection({ path: join(directory, "ctl") });
    socket.on("error", () => undefined);
    await new Promise((resolve) => socket.once("connect", resolve).once("error", resolve));
    return socket;
  }

  async function until(ask: () => boolean): Promise<void> {
    for (let round = 0; round < 500 && !ask(); round++) await sleep(5);
    expect(ask()).toBe(true);
  }

  it("hears lines however they are cut, once", async () => {
    for (const part of ["hel", "lo 1\nup 5 ", "10.0.0.2\nnew word\nex", "it 3\n"]) {
      init.write(part);
      await sleep(5);
    }
    await until(() => heard.length === 3);
    expect(heard.map(({ kind }) => kind)).toEqual(["hello", "up", "exit"]);
  });

  it("tells init what the launcher says, and of its end by the connection's", async () => {
    let text = "";
    let ended = false;
    init.on("data", (chunk) => {
      text += String(chunk);
    });
    init.on("end", () => {
      ended = true;
    });
    await until(() => channel.connected);
    channel.send("go");
    channel.send({ signal: 2 });
    await until(() => text === "go\nsignal 2\n");
    channel.close();
    await until(() => ended);
  });

  it("takes one connection alone: init's", async () => {
    await until(() => channel.connected);
    const second = await connected();
    second.write("exit 0\n");
    await sleep(50);
    expect(heard).toEqual([]);
    second.destroy();
    await sleep(20);
    expect(ends.count).toBe(0);
  });

  it("names an init of another protocol", async () => {
    init.write("hello 2\n");
    await until(() => heard.length === 1);
    expect(heard[0]).toMatchObject({ kind: "error", text: expect.stringContaining("protocol 2") as string });
  });

  it("ends with a peer that sends no lines", async () => {
    init.write("x".repeat(5000));
    await until(() => ends.count === 1);
    expect(heard).toEqual([{ kind: "error", text: "node1 sent a line that is too long" }]);
  });

  it("tells of init's end once", async () => {
    await until(() => channel.connected);
    init.destroy();
    await until(() => ends.count > 0);
    channel.close();
    await sleep(20);
    expect(ends.count).toBe(1);
    expect(channel.connected).toBe(false);
  });
});
