import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { formatLauncherMessage } from "../../src/job/control.ts";
import { Suspension } from "../../src/job/suspension.ts";

/** A suspension whose deeds are written down instead of done. */
function observed() {
  const deeds: string[] = [];
  const suspension = new Suspension(
    (word) => {
      deeds.push(word);
    },
    () => deeds.push("stop"),
  );
  return { deeds, suspension };
}

describe("a suspended launch", () => {
  test("tells its nodes, then stops itself; and tells them when it goes on", async () => {
    const { deeds, suspension } = observed();
    suspension.suspend();
    await turn();
    suspension.resume();
    expect(deeds).toEqual(["suspend", "stop", "resume"]);
  });

  test("does not stop when it was told to go on meanwhile: nobody would tell it again", async () => {
    const { deeds, suspension } = observed();
    suspension.suspend();
    suspension.resume();
    await turn();
    expect(deeds).toEqual(["suspend", "resume"]);
  });

  test("does not stop before those who would take it for dead are told", async () => {
    const deeds: string[] = [];
    let told: () => void = () => undefined;
    const suspension = new Suspension(
      (word) => {
        deeds.push(word);
        return new Promise<void>((resolve) => {
          told = resolve;
        });
      },
      () => deeds.push("stop"),
    );
    suspension.suspend();
    await turn();
    await turn();
    expect(deeds).toEqual(["suspend"]);
    told();
    await expect.poll(() => deeds).toEqual(["suspend", "stop"]);
  });

  test("takes a second SIGTSTP, and a SIGCONT without one, for nothing", async () => {
    const { deeds, suspension } = observed();
    suspension.resume();
    suspension.suspend();
    suspension.suspend();
    await turn();
    expect(deeds).toEqual(["suspend", "stop"]);
  });

  test("has words for init", () => {
    expect(formatLauncherMessage("suspend").trim()).toBe("suspend");
    expect(formatLauncherMessage("resume").trim()).toBe("resume");
  });
});
