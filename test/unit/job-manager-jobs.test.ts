import { describe, expect, it } from "vitest";
import type { ManagerJob } from "../../src/allocation/allocation.ts";
import { isNamedAfter, launchIds } from "../../src/job/id.ts";

describe("a job that is named after a manager's", () => {
  function firstIds(job: ManagerJob, count: number): string[] {
    const ids = launchIds(job);
    return Array.from({ length: count }, () => ids.next().value);
  }

  it.each([
    { id: "1234", restarts: 0 },
    { id: "1234", restarts: 3 },
    { id: "1234_7", restarts: 0 },
    { id: "1234+1", restarts: 1 },
    { id: "32.0", restarts: 0 },
  ])("$id, begun anew $restarts times", (job) => {
    for (const id of firstIds(job, 3)) expect(isNamedAfter(id, job.id)).toBe(true);
  });

  it("another job's name is not taken for it", () => {
    for (const name of [
      "12345",
      "123",
      "1234_7",
      "1234+1",
      "1234-",
      "1234-r",
      "1234-0",
      "1234-rx",
      "x1234",
      "1234-2-3",
    ])
      expect(isNamedAfter(name, "1234")).toBe(false);
  });
});
