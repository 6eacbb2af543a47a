import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StderrReporter } from "../../src/job/reporter.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const PROGRESS = { layer: "a1", status: "Downloading", current: 1, total: 10 };

function told(interactive: boolean, work: (reporter: StderrReporter) => void): string {
  let text = "";
  work(
    new StderrReporter(interactive, (piece) => {
      text += piece;
    }),
  );
  vi.advanceTimersByTime(10_000);
  return text;
}

test("without a terminal one line tells that nodes pull, which ones folded, however long it takes", () => {
  const text = told(false, (reporter) => {
    for (const node of ["n1", "n2", "n3"]) reporter.pull("app", PROGRESS, node);
    vi.advanceTimersByTime(5000);
    for (const node of ["n1", "n2", "n3"]) reporter.pull("app", PROGRESS, node);
  });
  expect(text).toBe("gangway: pulling app on n[1-3]\n");
});

test("on this host alone no node is named", () => {
  expect(told(false, (reporter) => reporter.pull("app", PROGRESS))).toBe("gangway: pulling app\n");
});

test("what came from a node is no command to a terminal", () => {
  expect(told(false, (reporter) => reporter.pull("app\x1b[2J", PROGRESS))).toBe("gangway: pulling app?[2J\n");
});

test("on a terminal it is shown how far it is, in a line that is overwritten", () => {
  expect(told(true, (reporter) => reporter.pull("app", { ...PROGRESS, total: 2_000_000, current: 1_000_000 }))).toBe(
    "\r\x1b[Kpulling app: downloading 50 % of 2.0 MB",
  );
});
