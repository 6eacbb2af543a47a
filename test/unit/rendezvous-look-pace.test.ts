// When the launcher reads the system's tables of sockets again, by a clock of the test's own.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LookPace } from "../../src/rendezvous/look-pace.ts";

const MOST = 700;

beforeEach(() => {
  let elapsedMs = 0;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.spyOn(process, "uptime").mockImplementation(() => elapsedMs / 1000);
  pass = async (milliseconds) => {
    // In small steps: one pause may follow the other.
    for (let step = 0; step < milliseconds; step++) {
      elapsedMs++;
      await vi.advanceTimersByTimeAsync(1);
    }
  };
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

let pass: (milliseconds: number) => Promise<void>;

/** A pause with so many waiting, and whether it is over. */
function pausing(pace: LookPace, waiting: number): { over: boolean } {
  const pause = { over: false };
  void pace
    .pause(() => waiting)
    .then(() => {
      pause.over = true;
    });
  return pause;
}

describe("between two looks at the tables", () => {
  it("the first does not wait", async () => {
    const pause = pausing(new LookPace(MOST), 1);
    await pass(1);
    expect(pause.over).toBe(true);
  });

  it("a few short ones follow each other after 20 ms, as long as there is some of their 50 ms left", async () => {
    const pace = new LookPace(MOST);
    pace.looked(10);
    const pause = pausing(pace, 1);
    await pass(18);
    expect(pause.over).toBe(false);
    await pass(4);
    expect(pause.over).toBe(true);
  });

  it("the few wait until a fiftieth of the time has paid for what was spent", async () => {
    const pace = new LookPace(MOST);
    pace.looked(50 + 4);
    const pause = pausing(pace, 1);
    await pass(195);
    expect(pause.over).toBe(false);
    await pass(10);
    expect(pause.over).toBe(true);
  });

  it("nobody waits for more than a second", async () => {
    const pace = new LookPace(MOST);
    pace.looked(5000);
    const pause = pausing(pace, 1);
    await pass(995);
    expect(pause.over).toBe(false);
    await pass(10);
    expect(pause.over).toBe(true);
  });

  it("what was idle for long has earned no more than at first", async () => {
    const pace = new LookPace(MOST);
    pace.looked(10);
    await pass(6000);
    pace.looked(50 + 4);
    const pause = pausing(pace, 1);
    await pass(195);
    expect(pause.over).toBe(false);
  });

  it("as many as are worth the time of a look, one for each twentieth of a millisecond, wait 20 ms alone", async () => {
    const pace = new LookPace(MOST);
    pace.looked(30);
    pace.looked(30);
    const [few, enough] = [pausing(pace, 599), pausing(pace, 600)];
    await pass(18);
    expect([few.over, enough.over]).toEqual([false, false]);
    await pass(4);
    expect([few.over, enough.over]).toEqual([false, true]);
  });

  it.each([
    ["as many as are worth a look", 30, 600],
    ["as many as there may be places for, whatever a look takes", 3000, MOST],
  ])("%s end the pause when they have come", async (_who, cpuMs, enough) => {
    const pace = new LookPace(MOST);
    pace.looked(cpuMs);
    pace.looked(cpuMs);
    const pause = pausing(pace, 1);
    await pass(30);
    pace.came(enough - 1);
    await pass(1);
    expect(pause.over).toBe(false);
    pace.came(enough);
    await pass(1);
    expect(pause.over).toBe(true);
  });

  it("however many come, there are 20 ms", async () => {
    const pace = new LookPace(MOST);
    pace.looked(30);
    const pause = pausing(pace, 1);
    pace.came(MOST);
    await pass(18);
    expect(pause.over).toBe(false);
  });

  it("nothing is waited for behind the end", async () => {
    const pace = new LookPace(MOST);
    pace.looked(5000);
    const pause = pausing(pace, 0);
    await pass(30);
    pace.stop();
    await pass(1);
    expect(pause.over).toBe(true);
  });
});
