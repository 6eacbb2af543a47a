import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { auditLine, syslogLine } from "../../src/job/audit.ts";
import { parseInitLine } from "../../src/job/control.ts";
import { decodeText, type SessionMessage } from "../../src/job/session-lines.ts";
import { type AuditRecord, SessionTable } from "../../src/job/sessions.ts";

const KEY = `SHA256:${"a".repeat(43)}`;

/** As the sshd's and the session entry's patches write it: printable ASCII stands, blanks and all else are %XX. */
function encoded(text: string): string {
  const plain = (byte: number) => byte > 0x20 && byte < 0x7f && byte !== 0x25;
  return [...Buffer.from(text)]
    .map((byte) => (plain(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`))
    .join("");
}

describe("what init tells of connections", () => {
  it.each<[string, SessionMessage]>([
    [
      `login 3 tcp 10.0.0.1:5123 7 ${KEY} 1234-key-7`,
      {
        kind: "login",
        connection: 3,
        way: "tcp",
        from: "10.0.0.1:5123",
        serial: "7",
        fingerprint: KEY,
        keyId: "1234-key-7",
      },
    ],
    [
      `login 1 socket - 0 ${KEY} -`,
      { kind: "login", connection: 1, way: "socket", from: null, serial: "0", fingerprint: KEY, keyId: null },
    ],
    [
      `login 1 tcp [fd00::1]:22 18446744073709551615 ${KEY} a%20b`,
      {
        kind: "login",
        connection: 1,
        way: "tcp",
        from: "[fd00::1]:22",
        serial: "18446744073709551615",
        fingerprint: KEY,
        keyId: "a b",
      },
    ],
    [
      "open 3 0 /dev/pts/3 shell -",
      { kind: "open", connection: 3, session: 0, tty: "/dev/pts/3", what: "shell", command: null },
    ],
    [
      "open 3 1 - command ls%20-l%0A",
      { kind: "open", connection: 3, session: 1, tty: null, what: "command", command: "ls -l\n" },
    ],
    [
      "open 3 1 - subsystem sftp",
      { kind: "open", connection: 3, session: 1, tty: null, what: "subsystem", command: "sftp" },
    ],
    ["close 3 1 130", { kind: "close", connection: 3, session: 1, exit: 130 }],
    ["close 3 1 -", { kind: "close", connection: 3, session: 1, exit: null }],
    ["logout 3 4096 123456789012", { kind: "logout", connection: 3, received: 4096, sent: 123456789012 }],
    ["logout 3 - -", { kind: "logout", connection: 3, received: null, sent: null }],
  ])("%s", (line, message) => expect(parseInitLine(line)).toEqual(message));

  it.each([
    "login 0 socket - 1 x -",
    `login 1 carrier - 1 ${KEY} -`,
    `login 1 tcp 10.0.0.1;id 1 ${KEY} -`,
    `login 1 tcp - 18446744073709551616 ${KEY} -`,
    `login 1 socket - 1 MD5:${"a".repeat(43)} -`,
    `login 1 socket - 1 ${KEY}`,
    `login 1 socket - 1 ${KEY} a%2`,
    "open 1 0 /dev/pts/../null shell -",
    "open 1 0 /dev/tty1 shell -",
    "open 1 0 - door -",
    "open 1 - - shell -",
    "close 1 0 256",
    "close 1 0",
    "logout 1 -1 0",
    "logout 1",
    "logout 99999999999999999999 0 0",
  ])("%j is dropped", (line) => expect(parseInitLine(line)).toBeUndefined());

  it("texts come through whole, whatever is in them; other bytes become U+FFFD", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (text) => {
        // "-" alone means none, so that a sender has to encode it.
        expect(decodeText(encoded(text))).toBe(Buffer.from(text).toString("utf8"));
      }),
    );
    expect(decodeText("%FF")).toBe("\ufffd");
  });
});

describe("the table of sessions", () => {
  let told: AuditRecord[];
  let table: SessionTable;
  const at = (seconds: number) => new Date(seconds * 1000);

  beforeEach(() => {
    vi.useFakeTimers();
    told = [];
    table = new SessionTable((record) => told.push(record));
  });
  afterEach(() => vi.useRealTimers());

  function hear(node: string, line: string, seconds: number): void {
    const message = parseInitLine(line);
    if (
      message?.kind !== "login" &&
      message?.kind !== "open" &&
      message?.kind !== "close" &&
      message?.kind !== "logout"
    )
      throw new TypeError(line);
    table.hear(node, message, at(seconds));
  }

  it("a session: seen while it lasts, told of when it and its connection have ended, with the bytes", () => {
    hear("node1", `login 1 tcp 10.0.0.1:5 7 ${KEY} k`, 10);
    hear("node1", "open 1 0 /dev/pts/0 command make%20all", 11);
    expect(table.list()).toEqual([
      {
        node: "node1",
        connection: 1,
        way: "tcp",
        from: "10.0.0.1:5",
        key: { serial: "7", fingerprint: KEY, id: "k" },
        since: at(10).toISOString(),
        sessions: [{ tty: "/dev/pts/0", kind: "command", command: "make all", since: at(11).toISOString() }],
      },
    ]);
    expect([table.countOf("7"), table.countOf("8")]).toEqual([1, 0]);
    hear("node1", "close 1 0 2", 20);
    expect(told).toEqual([]);
    hear("node1", "logout 1 100 200", 20);
    expect(table.list()).toEqual([]);
    expect(told).toMatchObject([
      { kind: "command", command: "make all", start: at(11).toISOString(), end: at(20).toISOString(), exit: 2 },
    ]);
    expect(told[0]?.bytes).toEqual({ received: 100, sent: 200 });
  });

  it("sessions of a connection that goes on are told of soon; its bytes at its own end", () => {
    hear("n", `login 1 socket - 7 ${KEY} k`, 0);
    hear("n", "open 1 0 - command a", 1);
    hear("n", "close 1 0 0", 2);
    vi.advanceTimersByTime(5000);
    expect(told.map(({ kind, bytes }) => [kind, bytes])).toEqual([["command", null]]);
    hear("n", "logout 1 5 6", 99);
    expect(told.map(({ kind, bytes }) => [kind, bytes])[1]).toEqual(["connection", { received: 5, sent: 6 }]);
  });

  it("a connection without a session is a line of kind forward", () => {
    hear("n", `login 4 socket - 7 ${KEY} -`, 0);
    hear("n", "logout 4 5 6", 3);
    expect(told).toMatchObject([{ kind: "forward", command: null, exit: null, bytes: { received: 5, sent: 6 } }]);
  });

  it("the same number on two nodes is two connections; a lost node ends its own alone", () => {
    for (const node of ["a", "b"]) hear(node, `login 1 socket - 7 ${KEY} -`, 0);
    hear("a", "open 1 0 - shell -", 1);
    table.lost("a", at(5));
    expect(told).toMatchObject([{ node: "a", kind: "shell", exit: null, bytes: null, end: at(5).toISOString() }]);
    expect(table.list().map(({ node }) => node)).toEqual(["b"]);
  });

  it("lines that fit to nothing change nothing", () => {
    for (const line of ["open 9 0 - shell -", "close 9 0 0", "logout 9 1 1"]) hear("n", line, 0);
    hear("n", `login 1 socket - 7 ${KEY} -`, 0);
    hear("n", `login 1 tcp 10.0.0.1:1 8 ${KEY} -`, 1);
    hear("n", "close 1 5 0", 2);
    expect(table.list()).toMatchObject([{ key: { serial: "7" }, sessions: [] }]);
    expect(told).toEqual([]);
  });

  it("what comes too fast is not noted, but counted; sessions of before stay in the log", () => {
    hear("n", `login 1 socket - 7 ${KEY} k`, 0);
    for (let number = 0; number < 10_000; number++) {
      hear("n", "open 1 0 - command flood", 1);
      hear("n", "close 1 0 0", 1);
    }
    hear("n", "logout 1 5 6", 1);
    expect(told.length).toBe(2000);
    expect(told.map(({ unnoted }) => unnoted).filter((count) => count > 0)).toEqual([8000]);
    // A second later fifty more are.
    hear("n", `login 2 socket - 7 ${KEY} k`, 2);
    for (let number = 0; number < 60; number++) hear("n", `open 2 ${number} - shell -`, 2);
    expect(table.list()[0]?.sessions.length).toBe(50);
  });

  it("a container that floods it fills it up to a bound", () => {
    for (let number = 1; number <= 20_100; number++) hear("n", `login ${number} socket - 7 ${KEY} -`, 0);
    for (let number = 0; number < 1100; number++) hear("n", `open 1 ${number} - shell -`, 0);
    expect(table.list().length).toBe(20_000);
    expect(table.list()[0]?.sessions.length).toBe(1024);
  });
});

describe("a line of the audit log", () => {
  it("is one line without a control character, and the same when it is read", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (command) => {
        const line = auditLine({ command });
        expect(line).toMatch(/^[^\p{Cc}\u2028\u2029]*$/u);
        expect(JSON.parse(line)).toEqual({ command });
      }),
    );
  });

  it("fits into a message of syslog, with as much of the command as there is room for", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 3000 }), (command) => {
        const line = syslogLine({ command });
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(1000);
        expect(command.startsWith((JSON.parse(line) as { command: string }).command)).toBe(true);
      }),
    );
    expect(syslogLine({ command: "make all" })).toBe('{"command":"make all"}');
  });
});
