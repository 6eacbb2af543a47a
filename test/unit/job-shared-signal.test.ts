import { constants } from "node:os";
import { expect, test } from "vitest";
import { SharedSignal } from "../../src/job/shared-signal.ts";

const { SIGTERM, SIGUSR1 } = constants.signals;

function heard(arrivals: readonly (readonly [at: number, signal: number])[]): string[] {
  const names: string[] = [];
  let now = 0;
  const shared = new SharedSignal(
    (name) => names.push(name),
    () => now,
  );
  for (const [at, signal] of arrivals) {
    now = at;
    shared.hear(signal);
  }
  return names;
}

test("a signal that all processes of the job get at about the same time is one signal", () => {
  expect(heard([0, 3, 250, 999].map((at) => [at, SIGTERM]))).toEqual(["SIGTERM"]);
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
