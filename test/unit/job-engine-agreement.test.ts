import { expect, test } from "vitest";
import { kindOfEngine, oddEngines } from "../../src/job/engine-agreement.ts";

const DOCKER = { kind: "docker", version: "20.10.24", apiVersion: "1.41", rootless: false } as const;
const PODMAN = { kind: "podman", version: "4.3.1", apiVersion: "1.41", rootless: true } as const;

const nodes = (...engines: string[]) => engines.map((engine, index) => ({ node: `n${index + 1}`, engine }));

test("an engine's kind is what makes one unlike another: not its version", () => {
  expect([kindOfEngine(DOCKER), kindOfEngine({ ...DOCKER, version: "25.0" }), kindOfEngine(PODMAN)]).toEqual([
    "Docker",
    "Docker",
    "rootless Podman",
  ]);
});

test("of nodes with the same kind nothing is said", () => {
  expect(oddEngines(nodes("Docker", "Docker"))).toEqual([]);
  expect(oddEngines([])).toEqual([]);
});

test("those with another than most are named, with both kinds", () => {
  expect(oddEngines(nodes("Docker", "rootless Podman", "Docker", "rootless Podman", "Docker", "Podman"))).toEqual([
    "n[2,4]: the engine there is rootless Podman, on the other nodes Docker",
    "n6: the engine there is Podman, on the other nodes Docker",
  ]);
});
