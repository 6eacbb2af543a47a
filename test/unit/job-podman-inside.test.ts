import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PodmanInside } from "../../src/job/podman-inside.ts";

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "gangway-podman-"));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

/** A tree whose shell does no more than this. */
function treeWith(script: string): string {
  const shell = join(place, "tree/tools/sh");
  mkdirSync(join(place, "tree/tools"), { recursive: true });
  writeFileSync(shell, `#!/bin/sh\n${script}\n`);
  chmodSync(shell, 0o755);
  return join(place, "tree");
}

describe("what keeps a Podman of the launch's own", () => {
  it("may be killed, as a manager does with all of a step: then nobody waits for it, and its directory goes", async () => {
    const base = join(place, "base");
    mkdirSync(base);
    const podman = new PodmanInside(base, treeWith("kill -9 $$"));
    await expect(podman.ready()).rejects.toThrow("no Podman could be started inside the job");
    await podman.stop();
    expect(readdirSync(base)).toEqual([]);
  });
});
