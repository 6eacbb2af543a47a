import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { type Frame, failureFrame, formatFrame, LONGEST_FRAME, parseFrame } from "../../src/rendezvous/frames.ts";
import { generateChannelIdentity } from "../../src/rendezvous/identity.ts";

const { fingerprint } = generateChannelIdentity();
const failed = (text: string, hint?: string) =>
  ({ kind: "failed", node: "n1", code: 125, text, ...(hint === undefined ? {} : { hint }) }) as const;

describe("a frame", () => {
  it.each<[string, Frame]>([
    [
      `gangway-node 1 hello n1.example.org 0.1.0 ${"A".repeat(43)}`,
      { kind: "hello", node: "n1.example.org", version: "0.1.0", fingerprint: "A".repeat(43) },
    ],
    ["gangway-node 1 failed n1 125 no%20engine -", failed("no engine")],
    ["gangway-node 1 failed n1 125 no%20engine start%20%C3%A9t%C3%A9", failed("no engine", "start été")],
    ["gangway-node 1 failed n1 125 %2D %2D", failed("-", "-")],
    ["gangway-node 1 failed n1 125 - -", failed("")],
  ])("%s", (line, frame) => {
    expect(parseFrame(line)).toEqual(frame);
    if (frame.kind !== "foreign") expect(formatFrame(frame)).toBe(line);
  });

  it("of another protocol is known for one, so that versions can be named", () => {
    expect(parseFrame("gangway-node 2 bonjour n1")).toEqual({ kind: "foreign", protocol: 2 });
  });

  it.each([
    "",
    "gangway-node",
    "gangway-node 1",
    "gangway-node 0 hello",
    "gangway-node 01 hello n1 0.1.0 x",
    " gangway-node 2 hello",
    `gangway-node 1 hello n1 0.1.0 ${"A".repeat(42)}`,
    `gangway-node 1 hello n1 0.1.0 ${"A".repeat(43)} more`,
    `gangway-node 1 hello n1  ${"A".repeat(43)}`,
    `gangway-node 1 hello n1;id 0.1.0 ${"A".repeat(43)}`,
    "gangway-node 1 failed n1 256 x -",
    "gangway-node 1 failed n1 1e1 x -",
    "gangway-node 1 failed n1 1 x",
    "gangway-node 1 failed n1 1 %zz -",
    "gangway-node 1 failed n1 1 %ff -",
    "gangway-node 1 failed n1 1 \u001b[2J -",
    `gangway-node 1 failed n1 1 ${"x".repeat(LONGEST_FRAME)} -`,
  ])("%j is noise", (line) => {
    expect(parseFrame(line)).toBeUndefined();
  });

  it("is read as it was written, in so many bytes of ASCII; texts that are too long are cut", () => {
    const words = fc.string({ unit: "grapheme", maxLength: 1500 });
    fc.assert(
      fc.property(words, fc.option(words, { nil: undefined }), fc.integer({ min: 0, max: 255 }), (text, hint, code) => {
        const line = formatFrame({ kind: "failed", node: "n1", code, text, ...(hint === undefined ? {} : { hint }) });
        expect(line).toMatch(/^[\x20-\x7e]{1,1023}$/);
        const frame = parseFrame(line);
        if (frame?.kind !== "failed") throw new Error(`not read: ${line}`);
        expect(frame.code).toBe(code);
        expect(text.startsWith(frame.text)).toBe(true);
        expect((hint ?? "").startsWith(frame.hint ?? "")).toBe(true);
        if (encodeURIComponent(text + (hint ?? "")).length < 900) {
          expect([frame.text, frame.hint ?? ""]).toEqual([text, hint ?? ""]);
        }
      }),
    );
  });

  it("stands for half a surrogate pair by the character that says so", () => {
    expect(parseFrame(formatFrame(failed("a\ud800b")))).toEqual(failed("a\ufffdb"));
  });

  it("never makes parsing throw, and never has a name that is none", () => {
    const line = fc
      .array(
        fc.oneof(fc.constantFrom("gangway-node", "1", "hello", "failed", "n1", "125"), fc.string({ unit: "binary" })),
      )
      .map((parts) => parts.join(" "));
    fc.assert(
      fc.property(line, (text) => {
        const frame = parseFrame(text);
        if (frame !== undefined && frame.kind !== "foreign") expect(frame.node).toMatch(/^[\w.-]+$/);
      }),
    );
  });

  it.each([
    () => formatFrame({ kind: "hello", node: "a b", version: "1", fingerprint }),
    () => formatFrame({ kind: "hello", node: "a", version: "1 2", fingerprint }),
    () => formatFrame({ kind: "hello", node: "a", version: "1", fingerprint: "x" }),
    () => formatFrame({ kind: "failed", node: "a", code: 256, text: "" }),
  ])("is not made of what could not be read (%#)", (make) => {
    expect(make).toThrow(RangeError);
  });

  it("tells an error with its hint and exit code", () => {
    const line = failureFrame("n1", new GangwayError("no engine", { hint: "start one", exitCode: 77 }));
    expect(parseFrame(line)).toEqual({ kind: "failed", node: "n1", code: 77, text: "no engine", hint: "start one" });
  });
});
