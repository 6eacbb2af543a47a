import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameParser, type OutputStream } from "../../src/engine/demux.ts";

function frame(stream: number, data: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

/** Feeds the bytes in pieces that end at the given places. */
function feedCut(parser: FrameParser, bytes: Buffer, cuts: readonly number[]): Record<OutputStream, Buffer> {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces = [...places, bytes.length].map((end, index) => bytes.subarray(places[index - 1] ?? 0, end));
  const outputs: Record<OutputStream, Buffer[]> = { 1: [], 2: [] };
  for (const piece of pieces) for (const { stream, data } of parser.feed(piece)) outputs[stream].push(data);
  return { 1: Buffer.concat(outputs[1]), 2: Buffer.concat(outputs[2]) };
}

const frames = fc.array(fc.tuple(fc.constantFrom(0, 1, 2), fc.uint8Array({ maxLength: 300 })), { maxLength: 30 });

describe("FrameParser", () => {
  test("gives the same bytes however the frames are cut", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat()), (parts, cuts) => {
        const bytes = Buffer.concat(parts.map(([stream, data]) => frame(stream, Buffer.from(data))));
        const of = (wanted: OutputStream) =>
          Buffer.concat(
            parts.filter(([stream]) => (stream === 2 ? 2 : 1) === wanted).map(([, data]) => Buffer.from(data)),
          );
        const parser = new FrameParser();
        expect(feedCut(parser, bytes, cuts)).toEqual({ 1: of(1), 2: of(2) });
        expect(parser.complete).toBe(true);
      }),
    );
  });

  test("keeps the order across both outputs", () => {
    const bytes = Buffer.concat([frame(1, Buffer.from("a")), frame(2, Buffer.from("b")), frame(1, Buffer.from("c"))]);
    const pieces = new FrameParser().feed(bytes);
    expect(pieces.map(({ stream, data }) => [stream, data.toString()])).toEqual([
      [1, "a"],
      [2, "b"],
      [1, "c"],
    ]);
  });

  test("notices every place at which a frame was cut off", () => {
    const bytes = Buffer.concat([frame(1, Buffer.from("whole")), frame(2, Buffer.from("more"))]);
    for (let end = 0; end <= bytes.length; end++) {
      const parser = new FrameParser();
      parser.feed(bytes.subarray(0, end));
      expect([end, parser.complete]).toEqual([end, end === 0 || end === 13 || end === bytes.length]);
    }
  });

  test("refuses what is no frame", () => {
    expect(() => new FrameParser().feed(Buffer.from("Hello, world"))).toThrow(/damaged/);
    expect(() => new FrameParser().feed(Buffer.from([1, 0, 0, 1, 0, 0, 0, 0]))).toThrow(/damaged/);
    expect(() => new FrameParser().feed(Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]))).toThrow(/damaged/);
    expect(() => new FrameParser().feed(Buffer.from([3, 0, 0, 0, 255, 0, 0, 0]))).toThrow(/damaged/);
  });

  test("throws what the engine itself reports, also when it comes in pieces", () => {
    const bytes = frame(3, Buffer.from("disk full\n"));
    const parser = new FrameParser();
    expect(parser.feed(bytes.subarray(0, 12))).toEqual([]);
    expect(() => parser.feed(bytes.subarray(12))).toThrow("the engine reports: disk full");
  });
});
