import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { chooseReading, type Reading, readingsOf } from "../../src/session/target.ts";
import { jobHost } from "../../src/udi/names.ts";

/** Jobs with the names of their nodes. */
type Jobs = Readonly<Record<string, readonly string[]>>;

/** @param down those of them that cannot be entered: they have ended, or do not run yet */
function meant(text: string, jobs: Jobs, down: readonly string[] = []): string | undefined {
  const fits = ({ job, node }: Reading) => {
    const nodes = jobs[job];
    if (nodes === undefined) return undefined;
    if (node === undefined || down.includes(job)) return job;
    const name = nodes.find((known) => known === node) ?? (/^\d+$/.test(node) ? nodes[Number(node)] : undefined);
    return name === undefined ? undefined : `${job} ${name}`;
  };
  return chooseReading(text, readingsOf(text), fits, (hit) => !down.includes(hit));
}

describe("what a name means among the running jobs", () => {
  const jobs: Jobs = { "1234": ["n1.site", "n2.site"], "32.0": ["slot1", "slot2"], "1234_7": ["n1"], "1234+1": ["n1"] };

  it.each<[string, string | undefined]>([
    ["1234", "1234"],
    ["1234.job", "1234"],
    ["1234.1", "1234 n2.site"],
    ["1234.n1.site", "1234 n1.site"],
    ["n1.site.1234", "1234 n1.site"],
    ["n1.site.1234.job", "1234 n1.site"],
    ["n1.site.1234.job.cluster", "1234 n1.site"],
    ["32.0", "32.0"],
    ["32.0.job", "32.0"],
    ["32.0.1", "32.0 slot2"],
    ["32.0.slot1", "32.0 slot1"],
    ["slot1.32.0.job", "32.0 slot1"],
    ["1234_7", "1234_7"],
    ["1234+1.job", "1234+1"],
    ["32", "32.0"],
    ["33", undefined],
    ["1234.n3.site", undefined],
  ])("%s is %s", (text, expected) => {
    expect(meant(text, jobs)).toBe(expected);
  });

  it("two equal numbers are node 1 of job 1 in one way, not in two", () => {
    expect(readingsOf("1.1")).toEqual([{ job: "1.1" }, { job: "1", node: "1" }]);
  });

  it.each(["n1.7.job", "n1.7.JOB", "n1.7.Job", "n1.7.job.", "n1.7.JOB."])(
    "%s is a host name, as DNS reads it",
    (name) => {
      expect(readingsOf(name)).toEqual([{ job: "7", node: "n1" }]);
    },
  );

  it("a cluster may have a final dot", () => {
    expect(readingsOf("n1.7.JOB.lab.")).toEqual([{ job: "7", node: "n1", cluster: "lab" }]);
    expect(() => readingsOf("n1.7.job..")).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
  });

  it("a job's id means that job, also where it could be another one's node", () => {
    expect(meant("32.0", { "32": ["a"], "32.0": ["b"] })).toBe("32.0");
    expect(meant("32.0", { "32": ["a"] })).toBe("32 a");
  });

  it("what fits two is an error that lists both in full", () => {
    expect(() => meant("a.b", { a: ["b"], b: ["a"] })).toThrow(
      expect.objectContaining({ exitCode: STATUS.several, message: '"a.b" fits several: b.a.job, a.b.job' }),
    );
    expect(meant("b.a.job", { a: ["b"], b: ["a"] })).toBe("a b");
  });

  it("what runs goes before what has ended or does not run yet, but not before the job of just that id", () => {
    expect(meant("a.1", { a: ["x", "y"], "1": [] }, ["1"])).toBe("a y");
    expect(meant("a.1", { "1": [] }, ["1"])).toBe("1");
    expect(() => meant("a.1", { a: [], "1": [] }, ["a", "1"])).toThrow(/fits several/);
    expect(meant("32.0", { "32": ["a"], "32.0": [] }, ["32.0"])).toBe("32.0");
  });

  it.each(["", ".", "a..b", "a b", "-x", "a/b", "x'y", "$(id)", "a\nb"])("%j can be no job", (text) => {
    expect(() => readingsOf(text)).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
  });

  it("a host name has one reading", () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,6}$/).filter((text) => text !== "job");
    const id = fc.oneof(
      label,
      fc.tuple(fc.nat(999), fc.nat(9)).map(([cluster, process]) => `${cluster}.${process}`),
    );
    fc.assert(
      fc.property(
        id,
        fc.option(label, { nil: undefined }),
        fc.option(label, { nil: undefined }),
        (job, node, cluster) => {
          // The grammar's one gap: a number cannot be a node before a number.
          fc.pre(!(/^\d+$/.test(job) && /^\d+$/.test(node ?? "")));
          const reading: Reading = {
            job,
            ...(node === undefined ? {} : { node }),
            ...(cluster === undefined ? {} : { cluster }),
          };
          expect(readingsOf(jobHost(reading))).toEqual([reading]);
        },
      ),
    );
  });
});
