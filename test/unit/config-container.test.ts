import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/config/errors.ts";
import {
  formatDevice,
  formatUlimit,
  formatVolume,
  parseCgroupParent,
  parseDevice,
  parseEngine,
  parseGpus,
  parseListen,
  parseNetwork,
  parseUlimit,
  parseVolume,
  ULIMIT_NAMES,
} from "../../src/config/parse-container.ts";
import { settings } from "../../src/config/settings.ts";
import type { Where } from "../../src/config/where.ts";

const where: Where = { kind: "flag", name: "--x" };
const bases = { home: "/home/u", cwd: "/here" };
const part = fc.stringMatching(/^[A-Za-z0-9_. =,;%-]{1,12}$/).filter((name) => name !== "." && name !== "..");
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);

describe("volumes", () => {
  it.each([
    ["/a:/b", { source: "/a", target: "/b", readOnly: false }],
    ["/a/:/b/", { source: "/a", target: "/b", readOnly: false }],
    ["/a:/b:ro", { source: "/a", target: "/b", readOnly: true }],
    ["/a:/b:rw", { source: "/a", target: "/b", readOnly: false }],
    ["/a:/b:rslave,ro", { source: "/a", target: "/b", readOnly: true, propagation: "rslave" }],
    ["~/x:/b", { source: "/home/u/x", target: "/b", readOnly: false }],
    ["~:/b", { source: "/home/u", target: "/b", readOnly: false }],
    ["./x:/b", { source: "/here/x", target: "/b", readOnly: false }],
    [".:/b", { source: "/here", target: "/b", readOnly: false }],
    ["../x:/b", { source: "/x", target: "/b", readOnly: false }],
    ["/:/host:ro", { source: "/", target: "/host", readOnly: true }],
  ])("%s", (text, volume) => {
    expect(parseVolume(text, where, bases)).toEqual(volume);
  });

  it.each([
    ["", "names no place in the container"],
    ["/a", "names no place in the container"],
    [":/b", "names nothing on the host"],
    ["/a:", "the target is not an absolute path"],
    ["/a:b", "the target is not an absolute path"],
    ["/a:/", "would cover the whole container"],
    ["/a:/b/..", "would cover the whole container"],
    ["/a:/b:ro:rw", "too many colons"],
    ["data:/b", "neither an absolute path nor one from ./ or ~/"],
    ["~other/x:/b", "neither an absolute path"],
    ["/a:/b:", 'unknown option ""'],
    ["/a:/b:z", 'unknown option "z"'],
    ["/a:/b:ro,rw", "ro or rw is said twice"],
    ["/a:/b:ro,ro", "ro or rw is said twice"],
    ["/a:/b:shared,slave", "two propagations"],
    ["/a:/b\0", "NUL"],
  ])("%j is refused: %s", (text, reason) => {
    expect(() => parseVolume(text, where, bases)).toThrow(UsageError);
    expect(() => parseVolume(text, where, bases)).toThrow(reason);
  });

  it("suggests an option and refuses what is relative to nothing", () => {
    expect(() => parseVolume("/a:/b:rslve", where, bases)).toThrow(
      expect.objectContaining({ hint: "did you mean rslave?" }),
    );
    expect(() => parseVolume("./a:/b", where, { home: "/h" })).toThrow("relative to nothing");
  });

  it("are read as they are written", () => {
    const propagation = fc.option(fc.constantFrom("private", "rprivate", "shared", "rshared", "slave", "rslave"), {
      nil: undefined,
    });
    fc.assert(
      fc.property(path, path, fc.boolean(), propagation, (source, target, readOnly, flow) => {
        const volume = { source, target, readOnly, ...(flow === undefined ? {} : { propagation: flow }) };
        expect(parseVolume(formatVolume(volume), where, bases)).toEqual(volume);
      }),
    );
  });

  it("the same target twice in one source is an error; of two sources the stronger one's stays", () => {
    const { kind } = settings.volumes;
    const read = (...texts: string[]) => kind.fromTexts(texts, where, bases);
    expect(() => read("/a:/x", "/b:/x/")).toThrow("/x is given twice");
    expect(kind.merge?.(read("/a:/x", "/a:/y"), read("/b:/x"))?.map(formatVolume)).toEqual(["/a:/y", "/b:/x"]);
  });
});

describe("devices", () => {
  it.each([
    ["/dev/fuse", "/dev/fuse:/dev/fuse:rwm"],
    ["/dev/a:/dev/b", "/dev/a:/dev/b:rwm"],
    ["/dev/a:/dev/b:r", "/dev/a:/dev/b:r"],
    ["/dev/a:rw", "/dev/a:/dev/a:rw"],
  ])("%s is %s", (text, whole) => {
    expect(formatDevice(parseDevice(text, where))).toBe(whole);
  });

  it.each(["", "fuse", "/dev/a:/dev/b:x", "/dev/a:/dev/b:rr", "/dev/a:/dev/b:r:w", "/dev/a:", "/", "/dev/a:/dev/b:"])(
    "%j is refused",
    (text) => {
      expect(() => parseDevice(text, where)).toThrow(UsageError);
    },
  );

  it("are read as they are written", () => {
    fc.assert(
      fc.property(
        path,
        path,
        fc.constantFrom("r", "w", "m", "rw", "rwm", "mr"),
        (hostPath, containerPath, permissions) => {
          const device = { hostPath, containerPath, permissions };
          expect(parseDevice(formatDevice(device), where)).toEqual(device);
        },
      ),
    );
  });
});

describe("ulimits", () => {
  it.each([
    ["nofile=1024", { name: "nofile", soft: 1024, hard: 1024 }],
    ["nofile=1024:2048", { name: "nofile", soft: 1024, hard: 2048 }],
    ["memlock=-1", { name: "memlock", soft: -1, hard: -1 }],
    ["stack=8192:unlimited", { name: "stack", soft: 8192, hard: -1 }],
    ["core=0", { name: "core", soft: 0, hard: 0 }],
  ])("%s", (text, ulimit) => {
    expect(parseUlimit(text, where)).toEqual(ulimit);
  });

  it.each([
    "",
    "nofile",
    "nofile=",
    "nofile=x",
    "nofile=2:1",
    "nofile=-1:5",
    "nofile=-2",
    "nofile=1:2:3",
    "as=1",
    "nofile=1:",
  ])("%j is refused", (text) => {
    expect(() => parseUlimit(text, where)).toThrow(UsageError);
  });

  it("suggests a name", () => {
    expect(() => parseUlimit("nofiles=1", where)).toThrow(expect.objectContaining({ hint: "did you mean nofile?" }));
  });

  it("are read as they are written", () => {
    const limit = fc.oneof(fc.constant(-1), fc.maxSafeNat());
    fc.assert(
      fc.property(fc.constantFrom(...ULIMIT_NAMES), limit, limit, (name, one, other) => {
        const [soft, hard] = one === -1 || (other !== -1 && one > other) ? [other, one] : [one, other];
        expect(parseUlimit(formatUlimit({ name, soft, hard }), where)).toEqual({ name, soft, hard });
      }),
    );
  });
});

describe("the rest", () => {
  it("gpus", () => {
    for (const text of ["all", "2", "device=0,1", "device=GPU-1a2b"]) expect(parseGpus(text, where)).toBe(text);
    expect(parseGpus('"device=0,1"', where)).toBe("device=0,1");
    for (const text of ["", "0", "-1", "some", "device=", "device=0,"])
      expect(() => parseGpus(text, where)).toThrow(UsageError);
  });

  it("networks", () => {
    for (const text of ["bridge", "host", "none", "my_net.1"]) expect(parseNetwork(text, where)).toBe(text);
    for (const text of ["", "container:x", "ns:/x", "a b", "-x"])
      expect(() => parseNetwork(text, where)).toThrow(UsageError);
  });

  it("engines", () => {
    expect(parseEngine("unix:///run/docker.sock", where)).toBe("/run/docker.sock");
    expect(parseEngine("/run/docker.sock", where)).toBe("/run/docker.sock");
    expect(() => parseEngine("tcp://host:2375", where)).toThrow("only engines on a unix socket");
    for (const text of ["", "docker.sock", "unix://docker.sock"])
      expect(() => parseEngine(text, where)).toThrow(UsageError);
  });

  it("listen", () => {
    expect(parseListen("any", where)).toBe("any");
    expect(parseListen("none", where)).toBe("none");
    expect(parseListen("10.0.0.1", where)).toEqual({ address: "10.0.0.1" });
    expect(parseListen("[::1]", where)).toEqual({ address: "::1" });
    for (const text of ["", "localhost", "10.0.0", "10.0.0.1:22"])
      expect(() => parseListen(text, where)).toThrow(UsageError);
  });

  it("parent cgroups", () => {
    for (const text of ["/slurm/job_1", "system.slice"]) expect(parseCgroupParent(text, where)).toBe(text);
    for (const text of ["", "job", "/a/../b", "a/b.slice"])
      expect(() => parseCgroupParent(text, where)).toThrow(UsageError);
  });

  it("linger", () => {
    const { kind } = settings.linger;
    expect(kind.fromTexts(["sessions"], where, bases)).toBe("sessions");
    expect(kind.fromTexts(["90s"], where, bases)).toEqual({ seconds: 90 });
    expect(kind.fromToml(90, where, bases)).toEqual({ seconds: 90 });
    expect(() => kind.fromTexts(["session"], where, bases)).toThrow(
      expect.objectContaining({ hint: "did you mean sessions?" }),
    );
  });
});
