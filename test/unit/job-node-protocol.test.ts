import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import {
  admissionOf,
  encodeToNode,
  foldPlaces,
  membersAt,
  parseToLauncher,
  parseToNode,
  type ToLauncher,
  type ToNode,
} from "../../src/job/node-protocol.ts";
import { ProtocolError } from "../../src/job/shape.ts";
import { encodeSpec, parseSpec } from "../../src/job/wire-spec.ts";
import { anyText, nodeNames, specification } from "./job-messages.ts";

/** As it comes out of the other end of a connection. */
const carried = (message: object): unknown => JSON.parse(JSON.stringify(message));
const line = fc.stringMatching(/^[ -~]{0,40}$/);
const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const trust = {
  authority: "ssh-ed25519 AAAA",
  hostCertificate: "ssh-ed25519-cert-v01@openssh.com AAAA",
  userCertificate: "ssh-ed25519-cert-v01@openssh.com BBBB",
  kitKeys: ["ssh-ed25519 CCCC kit"],
};

describe("a specification", () => {
  it("is on the node what it was in the launcher, whatever its texts are", () => {
    fc.assert(
      fc.property(specification, (spec) => {
        expect(parseSpec(carried(encodeSpec(spec)), "spec")).toEqual(spec);
      }),
    );
  });

  it("with one part of it damaged is refused, or another specification, and nothing worse", () => {
    const damaged = specification.chain((spec) => {
      const encoded = carried(encodeSpec(spec)) as Record<string, unknown>;
      return fc
        .tuple(fc.constantFrom(...Object.keys(encoded)), fc.anything())
        .map(([key, value]) => ({ ...encoded, [key]: value }));
    });
    fc.assert(
      fc.property(damaged, (value) => {
        try {
          expect(typeof parseSpec(value, "spec").id).toBe("string");
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
        }
      }),
    );
  });

  it.each<[string, object]>([
    ["other slots than nodes", { manager: "slurm", names: "n[1-3]", slots: "2(x2)" }],
    ["more than 100000 names", { manager: "slurm", names: "n[0-999999999]", slots: "1" }],
    ["manager is no", { manager: "cron", names: "n1", slots: "1" }],
  ])("whose allocation has %s is refused", (reason, allocation) => {
    const spec = carried(encodeSpec(fc.sample(specification, { numRuns: 1, seed: 1 })[0] ?? fail()));
    expect(() => parseSpec({ ...(spec as object), allocation }, "spec")).toThrow(reason);
  });

  it("of ten thousand nodes that fold is a few words more than of three", () => {
    const [spec] = fc.sample(specification, { numRuns: 1, seed: 1 });
    const nodes = Array.from({ length: 10_000 }, (_, index) => ({
      index,
      name: `n${`${index}`.padStart(4, "0")}`,
      slots: 2,
    }));
    const size = (count: number) =>
      JSON.stringify(
        encodeSpec({ ...(spec ?? fail()), allocation: { manager: "slurm", nodes: nodes.slice(0, count) } }),
      ).length;
    expect(size(10_000) - size(3)).toBeLessThan(20);
  });
});

describe("what the launcher says to a node", () => {
  const message: fc.Arbitrary<ToNode> = fc.oneof(
    fc.record({
      kind: fc.constant("launch" as const),
      spec: specification,
      launcher: anyText,
      settings: fc.record({ engine: anyText, runDirectory: anyText }, { requiredKeys: [] }),
    }),
    fc.constant<ToNode>({ kind: "up" }),
    fc.record({ kind: fc.constant("index" as const), node: number }),
    fc.constant<ToNode>({ kind: "places", places: { addresses: "10.0.0.1+3", ports: "20333(x3)" } }),
    fc.constant<ToNode>({ kind: "places", places: { addresses: "fd00::1", ports: "0" } }),
    fc.constant<ToNode>({ kind: "membership", trust }),
    fc.constant<ToNode>({ kind: "membership", trust: null }),
    fc.record({ kind: fc.constant("say" as const), line }),
    fc.record({ kind: fc.constant("revocations" as const), list: line }),
    fc.record({ kind: fc.constant("inspect" as const), id: number }),
    fc.record({ kind: fc.constant("answer" as const), id: number, line: anyText }),
    fc.record({ kind: fc.constant("end" as const), exitCode: fc.integer({ min: 0, max: 255 }) }),
  );

  it("is what the node hears", () => {
    fc.assert(
      fc.property(message, (said) => {
        expect(parseToNode(carried(encodeToNode(said)))).toEqual(said);
      }),
    );
  });

  it.each<[string, unknown]>([
    ["message is no object", "up"],
    ["message.kind is no text", {}],
    ['a message of kind "constructor"', { kind: "constructor" }],
    ['a message of kind "prepared"', { kind: "prepared" }],
    ["end.exitCode is no whole number from 0 to 255", { kind: "end", exitCode: 256 }],
    ["membership.trust is no object", { kind: "membership" }],
    ["places.places.ports is no text", { kind: "places", places: { addresses: "" } }],
    [
      "membership.trust.authority is no line",
      { kind: "membership", trust: { ...trust, authority: "ssh-ed25519 AAAA\nssh-ed25519 EVIL" } },
    ],
  ])("%s: refused", (reason, said) => {
    expect(() => parseToNode(said)).toThrow(ProtocolError);
    expect(() => parseToNode(said)).toThrow(reason);
  });
});

describe("what a node says to the launcher", () => {
  const message: fc.Arbitrary<ToLauncher> = fc.oneof(
    fc.record({ kind: fc.constant("note" as const), text: anyText }),
    fc.record({
      kind: fc.constant("pull" as const),
      image: anyText,
      progress: fc.record({ layer: anyText, status: anyText, current: number, total: number }),
    }),
    fc.record({
      kind: fc.constant("planned" as const),
      engine: fc.constantFrom("Docker", "rootless Podman"),
      image: anyText,
      command: fc.array(anyText),
      workdir: anyText,
    }),
    fc.record({ kind: fc.constant("prepared" as const), hostKey: line, userKey: line, joined: fc.boolean() }),
    fc.record({
      kind: fc.constant("up" as const),
      port: fc.integer({ min: 0, max: 65_535 }),
      addresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 4 }),
      network: anyText,
    }),
    fc.constantFrom<ToLauncher>({ kind: "answered" }, { kind: "closed" }, { kind: "ended" }),
    fc.record({ kind: fc.constant("heard" as const), line: anyText }),
    fc.record({
      kind: fc.constant("failed" as const),
      taken: fc.boolean(),
      message: anyText,
      hint: anyText,
      exitCode: fc.integer({ min: 1, max: 255 }),
    }),
    fc.record({ kind: fc.constant("signalled" as const), signal: fc.integer({ min: 1, max: 64 }) }),
    fc.record({ kind: fc.constant("output" as const), stdout: number, stderr: number }),
    fc.record({
      kind: fc.constant("inspected" as const),
      id: number,
      engineWent: fc.boolean(),
      outOfMemory: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("ask" as const), id: number, line: anyText }),
  );

  it("is what the launcher hears", () => {
    fc.assert(
      fc.property(message, (said) => {
        expect(parseToLauncher(carried(said))).toEqual(said);
      }),
    );
  });

  it.each<[string, unknown]>([
    ["up.port is no whole number", { kind: "up", port: 65_536, addresses: [], network: "host" }],
    ["up.addresses[0] is no address", { kind: "up", port: 1, addresses: ["n1\nHost *"], network: "host" }],
    ["prepared.hostKey is no line", { kind: "prepared", hostKey: "a\nb", userKey: "c", joined: true }],
    ["failed.exitCode", { kind: "failed", message: "x", exitCode: 0 }],
    ["signalled.signal", { kind: "signalled", signal: 65 }],
    ['a message of kind "launch"', { kind: "launch" }],
  ])("%s: refused", (reason, said) => {
    expect(() => parseToLauncher(said)).toThrow(ProtocolError);
    expect(() => parseToLauncher(said)).toThrow(reason);
  });
});

describe("anything else", () => {
  it("is refused by both, with nothing but an error that says what", () => {
    const kinds = ["launch", "up", "membership", "say", "end", "prepared", "failed", "inspected", "pull"];
    const value = fc.oneof(fc.anything(), fc.record({ kind: fc.constantFrom(...kinds), id: fc.anything() }));
    fc.assert(
      fc.property(value, (said) => {
        for (const parse of [parseToNode, parseToLauncher]) {
          try {
            parse(said);
          } catch (error) {
            expect(error).toBeInstanceOf(GangwayError);
          }
        }
      }),
    );
  });
});

describe("the members of a job", () => {
  it("are on each node those of the launcher, in its order", () => {
    const place = fc.record({
      address: fc.oneof(fc.ipV4(), fc.constantFrom("fd00::1", "10.0.0.7")),
      port: fc.integer({ min: 0, max: 65_535 }),
    });
    fc.assert(
      fc.property(nodeNames, fc.array(place, { minLength: 40, maxLength: 40 }), (names, places) => {
        const [spec] = fc.sample(specification, { numRuns: 1, seed: 1 });
        const nodes = names.map((name, index) => ({ index, name, slots: 1 }));
        const members = nodes.map((node, index) => {
          const { address, port } = places[index] ?? fail();
          return { node, address, ownAddresses: [address], port, addresses: [address] };
        });
        const allocation = { manager: "slurm", nodes } as const;
        expect(membersAt({ ...(spec ?? fail()), allocation }, foldPlaces(members))).toEqual(members);
      }),
    );
  });

  it("a node is admitted by its own certificates", () => {
    const { certificates, authority, kitKeys } = admissionOf(trust, [], 2);
    expect([...certificates]).toEqual([[2, { host: trust.hostCertificate, user: trust.userCertificate }]]);
    expect({ authority, kitKeys }).toEqual({ authority: trust.authority, kitKeys: trust.kitKeys });
  });
});

function fail(): never {
  throw new Error("a sample that is not there");
}
