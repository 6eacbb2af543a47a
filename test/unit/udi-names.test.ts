import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import {
  checkHost,
  checkJobId,
  checkNodeName,
  engineSafe,
  isAddress,
  isJobId,
  isNodeName,
  jobHost,
  parseJobHost,
  quoted,
} from "../../src/udi/names.ts";

const jobIds = ["1234", "1234_7", "1234+1", "32.0", "1234-2", "32.0-3", "32.0-r1", "32.0-r1-2", "k3x9"];
const hostile = [
  "",
  ".",
  "..",
  "a..b",
  "-a",
  "a-",
  "a b",
  "a\nUser root",
  "a,b",
  "*",
  "!a",
  "a?",
  'a"b',
  "a'b",
  "a;b",
  "$(id)",
  "%h",
  "a/b",
  "ä",
  "a\0b",
  "x".repeat(64),
];

describe("names", () => {
  it.each(jobIds)("accepts the job id %s", (id) => {
    expect(checkJobId(id)).toBe(id);
  });

  it.each(hostile)("refuses %j as a job id, a node and a host", (text) => {
    expect(() => checkJobId(text)).toThrow(GangwayError);
    expect(() => checkNodeName(text)).toThrow(GangwayError);
    expect(() => checkHost(text)).toThrow(GangwayError);
  });

  it("takes a dot in a job id for HTCondor's only", () => {
    expect(isJobId("32.0")).toBe(true);
    for (const id of ["a.0", "32.a", "1.2.3", "32."]) expect(isJobId(id)).toBe(false);
  });

  it("knows addresses, without zones", () => {
    for (const address of ["10.0.0.1", "::1", "2001:db8::7"]) expect(isAddress(address)).toBe(true);
    for (const text of ["fe80::1%eth0", "10.0.0", "node1", "1:2"]) expect(isAddress(text)).toBe(false);
    const part = fc.oneof(fc.stringMatching(/^[0-9a-fA-F]{0,5}$/), fc.ipV4(), fc.constant(""));
    const nearly = fc
      .tuple(fc.array(part, { maxLength: 9 }), fc.constantFrom(":", "::", "."))
      .map(([parts, by]) => parts.join(by));
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), nearly, fc.string({ maxLength: 10 })), (text) => {
        expect(isAddress(text)).toBe(isIP(text) !== 0 && !text.includes("%"));
      }),
      { numRuns: 5000 },
    );
    expect(checkHost("2001:db8::7")).toBe("2001:db8::7");
  });

  it("limits a node's name as a host name is limited", () => {
    const label = "n".repeat(63);
    expect(isNodeName([label, label, label, "n".repeat(61)].join("."))).toBe(true);
    expect(isNodeName([label, label, label, "n".repeat(62)].join("."))).toBe(false);
    expect(isNodeName("node_1")).toBe(true);
  });

  it.each([
    ["1234.job", { job: "1234" }],
    ["node2.1234.job", { job: "1234", node: "node2" }],
    ["32.0.job", { job: "32.0" }],
    ["node2.32.0.job", { job: "32.0", node: "node2" }],
    ["node2.32.0-r1.job", { job: "32.0-r1", node: "node2" }],
    ["node2.site.org.1234_7.job", { job: "1234_7", node: "node2.site.org" }],
    ["node2.1234+1.job.east", { job: "1234+1", node: "node2", cluster: "east" }],
    ["1234.job.east.site.org", { job: "1234", cluster: "east.site.org" }],
    ["job.job", { job: "job" }],
  ])("reads %s from the right", (host, expected) => {
    expect(parseJobHost(host)).toEqual(expected);
    expect(jobHost(expected)).toBe(host);
  });

  it.each(["job", "1234", ".job", ".1234.job", "1234.job.", "a b.job", "1234.jobs", ""])(
    "takes %j for no job's host",
    (host) => {
      expect(parseJobHost(host)).toBeUndefined();
    },
  );

  it("makes different engine-safe names of different ids", () => {
    for (const id of jobIds) expect(engineSafe(id)).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/);
    const id = fc.stringMatching(/^[A-Za-z0-9_+.-]{1,12}$/).filter(isJobId);
    fc.assert(
      fc.property(id, id, (a, b) => {
        expect(engineSafe(a) === engineSafe(b)).toBe(a === b);
      }),
    );
  });

  it("quotes anything for a message in one line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
        expect(quoted(text)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      }),
    );
    expect(quoted("x".repeat(1000)).length).toBeLessThan(90);
  });
});
