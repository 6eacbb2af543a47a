import { constants } from "node:os";
import { expect, test } from "vitest";
import { SharedSignal } from "../../src/job/shared-signal.ts";

const { SIGINT, SIGTERM, SIGUSR1 } = constants.signals;

type Arrival = readonly [at: number, signal: number, here?: "here"];

function heard(arrivals: readonly Arrival[]): string[] {
  const names: string[] = [];
  let now = 0;
  const shared = new SharedSignal(
    (name) => names.push(name),
    () => now,
  );
  for (const [at, signal, here] of arrivals) {
    now = at;
    if (here === undefined) shared.hear(signal);
    else shared.hearHere(signal);
  }
  return names;
}

test("a signal that all processes of the job get at about the same time is one signal", () => {
  expect(heard([0, 3, 250, 999].map((at) => [at, SIGTERM]))).toEqual(["SIGTERM"]);
});

test("the launcher gets it, too, when the manager signals the whole job: first, in the middle or last", () => {
  for (const when of [0, 1, 2, 3]) {
    const arrivals: Arrival[] = [0, 1, 2, 3].map((at) => (at === when ? [at, SIGTERM, "here"] : [at, SIGTERM]));
    expect(heard(arrivals)).toEqual(["SIGTERM"]);
  }
});

test("what the launcher alone gets counts each time: somebody presses ^C thrice", () => {
  expect(heard([0, 100, 200].map((at) => [at, SIGINT, "here"]))).toEqual(["SIGINT", "SIGINT", "SIGINT"]);
  const more: Arrival[] = [
    [0, SIGINT],
    [10, SIGINT, "here"],
    [100, SIGINT, "here"],
    [1200, SIGINT],
    [5000, SIGINT, "here"],
  ];
  expect(heard(more)).toHaveLength(4);
});

test("one that comes again and again counts once a second, from the first on", () => {
  expect(heard([0, 600, 1200, 1800, 2400].map((at) => [at, SIGUSR1]))).toEqual(["SIGUSR1", "SIGUSR1", "SIGUSR1"]);
});

test("another signal is another", () => {
  expect(heard([0, 1].map((at, index) => [at, index === 0 ? SIGTERM : SIGUSR1]))).toEqual(["SIGTERM", "SIGUSR1"]);
});

test("a number that is no signal's is ignored", () => {
  expect(heard([[0, 4711]])).toEqual([]);
});
