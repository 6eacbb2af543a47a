import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { hostsAppendix, mergeHosts } from "../../src/udi/hosts.ts";
import { renderHostsfile } from "../../src/udi/hostsfile.ts";

/** As the C library looks a name up in the file: the first line of the family wins. */
function lookUp(file: string, name: string): string | undefined {
  for (const line of file.split("\n")) {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (names.includes(name)) return address;
  }
  return undefined;
}

const nodes = [
  { name: "node1", addresses: ["10.0.0.1", "2001:db8::1"], aliases: ["node1.1234.job", "1234.job", "node1"] },
  { name: "node2", addresses: ["10.0.0.2"], aliases: [] },
];

describe("mergeHosts and hostsAppendix", () => {
  it("give localhost, the image's own, and the nodes", () => {
    const image = "127.0.0.1\tlocalhost\n# a note\n192.0.2.5 licence licence.site.org # where it is\n";
    expect(mergeHosts([image], ["node1", "node2"]) + hostsAppendix(nodes)).toBe(
      [
        "127.0.0.1 localhost localhost.localdomain",
        "::1 localhost ip6-localhost ip6-loopback",
        "ff02::1 ip6-allnodes",
        "ff02::2 ip6-allrouters",
        "192.0.2.5 licence licence.site.org",
        "10.0.0.1 node1 node1.1234.job 1234.job",
        "2001:db8::1 node1 node1.1234.job 1234.job",
        "10.0.0.2 node2",
        "",
      ].join("\n"),
    );
  });

  it("let no file take a node's name or localhost", () => {
    const image = "192.0.2.66 node1 NODE2 localhost other\n192.0.2.67 node1\n";
    const file = mergeHosts([image, undefined], ["node1", "node2"]) + hostsAppendix(nodes);
    expect(lookUp(file, "node1")).toBe("10.0.0.1");
    expect(lookUp(file, "localhost")).toBe("127.0.0.1");
    expect(lookUp(file, "other")).toBe("192.0.2.66");
    expect(file).not.toContain("NODE2");
  });

  it("hold for any file: nodes found, no foreign name lost, nothing changed the second time", () => {
    const name = fc.oneof(fc.constantFrom("node1", "localhost", "db"), fc.stringMatching(/^[a-z][a-z0-9.-]{0,8}$/));
    const line = fc
      .tuple(fc.ipV4(), fc.array(name, { minLength: 1, maxLength: 3 }))
      .map(([address, names]) => `${address}\t${names.join(" ")}`);
    const junk = fc.string({ unit: "binary", maxLength: 30 });
    const own = ["node1", "node2"];
    fc.assert(
      fc.property(fc.array(fc.oneof(line, line, junk)), (lines) => {
        const merged = mergeHosts([lines.join("\n")], own);
        expect(lookUp(merged + hostsAppendix(nodes), "node1")).toBe("10.0.0.1");
        expect(lookUp(merged, "localhost")).toBe("127.0.0.1");
        expect(mergeHosts([merged], own)).toBe(merged);
      }),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const merged = mergeHosts([lines.join("\n")], own);
        const foreign = lines
          .flatMap((text) => text.split(/\s/).slice(1))
          .filter((text) => !/^(node1|localhost)$/.test(text));
        for (const text of foreign) expect(lookUp(merged, text)).toBeDefined();
      }),
    );
  });

  it("work without any file", () => {
    expect(mergeHosts([undefined], [])).toMatch(/^127\.0\.0\.1 localhost/);
  });

  it("refuse what is no address or no name", () => {
    expect(() => hostsAppendix([{ name: "a", addresses: ["10.0.0"], aliases: [] }])).toThrow(GangwayError);
    expect(() => hostsAppendix([{ name: "a\n10.0.0.9 b", addresses: ["10.0.0.1"], aliases: [] }])).toThrow(
      GangwayError,
    );
    expect(() => hostsAppendix([{ name: "a", addresses: ["10.0.0.1"], aliases: ["b c"] }])).toThrow(GangwayError);
  });
});

describe("renderHostsfile", () => {
  it("has each name once per slot", () => {
    const slots = [
      { name: "node1", slots: 2 },
      { name: "node2", slots: 1 },
    ];
    expect(renderHostsfile(slots)).toBe("node1\nnode1\nnode2\n");
  });

  it.each([0, -1, 1.5, Number.NaN])("refuses %s slots", (slots) => {
    expect(() => renderHostsfile([{ name: "node1", slots }])).toThrow(GangwayError);
  });

  it("refuses a name that is none", () => {
    expect(() => renderHostsfile([{ name: "a b", slots: 1 }])).toThrow(GangwayError);
  });
});
