import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LaunchError } from "../../src/config/errors.ts";
import { lostNodes, shortened } from "../../src/job/nodes-lost.ts";

const lost = (name: string, reason: string, hint?: string, exitCode = 125) => ({
  name,
  error: new LaunchError(name, reason, { exitCode, ...(hint === undefined ? {} : { hint }) }),
});

describe("nodes that are lost", () => {
  it("one is named with its reason, and what can be done about it", () => {
    const error = lostNodes([lost("n1", "no engine answers", "start it", 126)]);
    expect(error.message).toBe("n1: no engine answers");
    expect(error).toMatchObject({ hint: "start it", exitCode: 126, nodes: ["n1"], node: "n1" });
  });

  it("those with the same reason are named together, in few words", () => {
    const names = Array.from({ length: 40 }, (_, index) => `n${`${index + 1}`.padStart(2, "0")}`);
    const error = lostNodes(names.map((name) => lost(name, "no engine answers")));
    expect(error.message).toBe("n[01-40]: no engine answers");
    expect(error.nodes).toEqual(names);
  });

  it("each reason has a line, and where there are many the rest are counted", () => {
    const error = lostNodes([
      lost("n1", "no engine answers", "start it"),
      lost("n2", "the disk is full"),
      lost("n3", "no engine answers"),
    ]);
    expect(error.message).toBe("n[1,3]: no engine answers\nn2: the disk is full");
    expect(error.hint).toBe("start it");
    const many = lostNodes(Array.from({ length: 9 }, (_, index) => lost(`n${index}`, `reason ${index}`)));
    expect(many.message).toBe("n0: reason 0\nn1: reason 1\nn2: reason 2\nand 6 more reasons");
    expect(many.nodes).toHaveLength(9);
    expect(lostNodes([0, 1, 2, 3].map((index) => lost(`n${index}`, `reason ${index}`))).message).toContain(
      "\nand 1 more reason",
    );
  });

  it("one without a reason is lost all the same", () => {
    expect(lostNodes([{ name: "n1", error: undefined }]).message).toBe("n1: it is lost");
  });

  it("are all kept, each once, whatever their names and reasons; the message stays readable", () => {
    const node = fc.tuple(
      fc.integer({ min: 0, max: 5000 }).map((number) => `node${number}`),
      fc.constantFrom("its engine is down", "the image is missing", "x".repeat(300)),
    );
    fc.assert(
      fc.property(fc.uniqueArray(node, { minLength: 1, maxLength: 400, selector: ([name]) => name }), (list) => {
        const error = lostNodes(list.map(([name, reason]) => lost(name, reason)));
        expect([...error.nodes].sort()).toEqual(list.map(([name]) => name).sort());
        expect(error.message.length).toBeLessThan(2000);
        expect(error.message.split("\n").length).toBeLessThanOrEqual(4);
      }),
    );
  });

  it("a list that is too long for a message is cut", () => {
    expect(shortened("n[1-3]")).toBe("n[1-3]");
    const long = shortened(Array.from({ length: 100 }, (_, index) => `host-${index * index}`).join(","));
    expect(long).toMatch(/\.\.\.$/);
    expect(long.length).toBe(200);
  });
});
