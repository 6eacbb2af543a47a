import { PassThrough, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { pass } from "../../src/job/node-streams.ts";

describe("the bytes of a command's output that a node counts", () => {
  it("are all that it passed on", async () => {
    const source = new PassThrough();
    const sink = new PassThrough();
    const counted = pass(source, sink);
    source.end("twelve bytes");
    sink.resume();
    expect(await counted).toBe(12);
  });

  it("are also those that nobody received any more: so that the launcher sees what is missing", async () => {
    const source = new PassThrough();
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => done(chunk.equals(CUT) ? new Error("cut") : null),
    });
    const counted = pass(source, sink);
    source.write("received,");
    source.write(CUT);
    await new Promise<void>((resolve) => sink.once("close", () => resolve()));
    source.end("thrown away");
    expect(await counted).toBe("received,".length + CUT.length + "thrown away".length);
  });
});

const CUT = Buffer.from("cut");
