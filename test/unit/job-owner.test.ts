import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JobError, STATUS } from "../../src/config/errors.ts";
import { askLauncher, listKeys, listSessions, revokeKey, signKey } from "../../src/job/owner-client.ts";
import { parseOwnerReply, parseOwnerRequest } from "../../src/job/owner-protocol.ts";
import { answerOwner, type OwnerService, OwnerSocket } from "../../src/job/owner-socket.ts";

const SIGNED = { certificate: "t b k", serial: "7", authority: "ssh-ed25519 A", expires: "2026-01-01T00:00:00.000Z" };
const KEY = {
  serial: "7",
  fingerprint: "SHA256:x",
  comment: "laptop",
  signed: SIGNED.expires,
  expires: SIGNED.expires,
  revoked: false,
  sessions: 1,
};
const CONNECTION = {
  node: "node1",
  connection: 1,
  way: "tcp" as const,
  from: "10.0.0.1:5",
  key: { serial: "7", fingerprint: "SHA256:x", id: null },
  since: SIGNED.expires,
  sessions: [{ tty: null, kind: "command" as const, command: "a\u001bb", since: SIGNED.expires }],
};

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gangway-unit-"));
  path = join(directory, "launcher.sock");
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("a launcher and its owner", () => {
  let socket: OwnerSocket;
  let asked: unknown[];
  const service: OwnerService = {
    stop: (...words) => asked.push(["stop", ...words]),
    sign: (request) => {
      asked.push(request);
      if (request.publicKey === "bad") throw new JobError("no key", { hint: "bring one" });
      return SIGNED;
    },
    keys: () => [KEY],
    revoke: (serial) => asked.push(serial) + 2,
    sessions: () => [CONNECTION],
  };

  beforeEach(() => {
    asked = [];
    socket = new OwnerSocket(path, (line) => answerOwner(service, line));
  });
  afterEach(async () => await socket.close(0));

  it("sign, keys, revoke, sessions: asked and answered", async () => {
    expect(await signKey({ path }, { publicKey: "p", seconds: 60, comment: "c" })).toMatchObject(SIGNED);
    expect(await listKeys({ path })).toEqual([KEY]);
    expect(await revokeKey({ path }, "7")).toBe(4);
    expect(await listSessions({ path })).toEqual([CONNECTION]);
    expect(asked).toEqual([{ op: "sign", publicKey: "p", seconds: 60, comment: "c" }, "7"]);
  });

  it("a refusal comes with its reason and the next step", async () => {
    await expect(signKey({ path }, { publicKey: "bad" })).rejects.toMatchObject({
      message: expect.stringContaining("no key") as string,
      hint: "bring one",
    });
  });

  it("whoever waits hears of the end", async () => {
    const waiting = askLauncher(path, { op: "wait" });
    await listKeys({ path });
    await socket.close(7);
    expect(await waiting).toBe(7);
  });
});

describe("what answers is believed nothing", () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  function answering(text: string): void {
    server = createServer((peer) => peer.on("error", () => undefined).end(text)).listen(path);
  }

  it.each([
    ["garbage", "hello\n"],
    ["an answer to something else", '{"kind":"accepted"}\n'],
    ["a key without its fields", '{"kind":"keys","keys":[{"serial":"7"}]}\n'],
    ["an array", "[]\n"],
  ])("%s is an error that names the launcher", async (_what, text) => {
    answering(text);
    await expect(listKeys({ path })).rejects.toThrow(/launcher (sent|answered)/);
  });

  it("nothing: the launcher was killed; nobody there: the job has ended; waiting says so by undefined", async () => {
    await expect(listKeys({ path })).rejects.toMatchObject({ exitCode: STATUS.ended });
    expect(await askLauncher(path, { op: "wait" })).toBeUndefined();
    answering("");
    await expect(listKeys({ path })).rejects.toMatchObject({ message: "the job's launcher was killed" });
  });

  it("a reply with a line's end where one line is meant is none", () => {
    expect(parseOwnerReply(JSON.stringify({ kind: "signed", ...SIGNED }))).toBeDefined();
    for (const name of ["certificate", "authority", "serial", "expires"]) {
      expect(parseOwnerReply(JSON.stringify({ kind: "signed", ...SIGNED, [name]: "x\ny" }))).toBeUndefined();
    }
  });

  it("neither side throws, whatever it is sent", () => {
    const known = fc.record({
      op: fc.constantFrom("sign", "revoke", "stop", "wait", "keys"),
      kind: fc.constantFrom("signed", "keys", "sessions", "refused", "ended", "revoked"),
      keys: fc.anything(),
      sessions: fc.anything(),
      serial: fc.anything(),
      seconds: fc.anything(),
      publicKey: fc.anything(),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          known.map((value) => JSON.stringify(value)),
        ),
        (line) => {
          const request = parseOwnerRequest(line);
          if (request?.op === "sign" && request.seconds !== undefined) expect(request.seconds).toBeGreaterThan(0);
          if (request?.op === "revoke") expect(request.serial).toMatch(/^\d+$/);
          parseOwnerReply(line);
        },
      ),
    );
  });
});
