import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { sweep } from "../../src/job/sweep.ts";
import { commandStarter } from "../../src/rendezvous/command.ts";

const place = mkdtempSync(join(tmpdir(), "gangway-sweep-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

const nodes = [
  { index: 0, name: "n1" },
  { index: 1, name: "n2" },
];

/** Sweeps by a program of a site's that is called with the host and what is to be run there. */
async function sweepBy(script: string): Promise<boolean> {
  const program = join(place, "start");
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  return await sweep(commandStarter({ words: [program, "%h"] }), nodes, ["/opt/gangway"], "/run/engine.sock");
}

describe("clearing hosts from afar", () => {
  it("calls gangway gc on each, with the user's engine", async () => {
    expect(await sweepBy(`echo "$@" > ${place}/called.$1`)).toBe(true);
    for (const { name } of nodes) {
      expect(readFileSync(join(place, `called.${name}`), "utf8")).toBe(
        `${name} /opt/gangway gc --engine /run/engine.sock\n`,
      );
    }
  });

  it("is not known to be done where a host refuses, however quickly", async () => {
    expect(await sweepBy("[ $1 = n1 ] || exit 255")).toBe(false);
  });

  it("is not known to be done where the program is none", async () => {
    expect(
      await sweep(commandStarter({ words: [join(place, "none"), "%h"] }), nodes, ["/opt/gangway"], undefined),
    ).toBe(false);
  });
});
