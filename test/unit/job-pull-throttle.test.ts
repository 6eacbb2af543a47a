import { describe, expect, it } from "vitest";
import type { PullProgress } from "../../src/engine/types.ts";
import { PullThrottle } from "../../src/job/pull-throttle.ts";

function observed(nodes: number) {
  const clock = { now: 0 };
  const sent: PullProgress[] = [];
  const throttle = new PullThrottle(
    nodes,
    (progress) => sent.push(progress),
    () => clock.now,
  );
  const say = (layer: string, current: number) => throttle.push({ layer, status: "Downloading", current, total: 100 });
  return { clock, sent, say };
}

describe("what a node tells of a pull", () => {
  it.each([
    [1, 100],
    [10, 100],
    [1000, 10_000],
  ])("comes, of %i nodes, at most every %i ms from each", (nodes, interval) => {
    const { clock, sent, say } = observed(nodes);
    for (clock.now = 0; clock.now < 3 * interval; clock.now += 10) say("a", 1);
    expect(sent).toHaveLength(3);
  });

  it("is the newest of each layer in turn", () => {
    const { clock, sent, say } = observed(1);
    say("a", 1);
    say("b", 1);
    say("a", 2);
    clock.now = 100;
    say("a", 3);
    clock.now = 200;
    say("b", 4);
    expect(sent.map(({ layer, current }) => [layer, current])).toEqual([
      ["a", 1],
      ["b", 1],
      ["a", 3],
    ]);
  });
});
