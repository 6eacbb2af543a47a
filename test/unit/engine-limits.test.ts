import { describe, expect, test } from "vitest";
import { completeUlimits } from "../../src/engine/limits.ts";

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max processes             96365                unlimited            processes
Max open files            1024                 524288               files
`;

describe("completeUlimits", () => {
  test("adds what Podman would else raise, from the caller's own limits", () => {
    expect(completeUlimits([{ name: "core", soft: 0, hard: 0 }], LIMITS, "32768\n")).toEqual([
      { name: "core", soft: 0, hard: 0 },
      { name: "nofile", soft: 1024, hard: 524_288 },
      { name: "nproc", soft: 32_768, hard: 32_768 },
    ]);
  });

  test("leaves alone what was asked for", () => {
    const asked = [
      { name: "nofile", soft: 1, hard: 2 },
      { name: "nproc", soft: 3, hard: -1 },
    ];
    expect(completeUlimits(asked, LIMITS, "4194304")).toEqual(asked);
  });

  test("keeps unlimited what is", () => {
    const limits = LIMITS.replace("1024                 524288", "unlimited            unlimited");
    expect(completeUlimits([], limits, "4194304")[0]).toEqual({ name: "nofile", soft: -1, hard: -1 });
  });
});
