import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, GangwayError, UsageError } from "../../src/config/errors.ts";
import {
  formatBytes,
  formatDuration,
  normalPath,
  parseAbsolutePath,
  parseAssignment,
  parseBoolean,
  parseBytes,
  parseCpus,
  parseCpuset,
  parseDuration,
  parseInteger,
  parseWord,
} from "../../src/config/parse.ts";
import { isSettingKey, settingKeys, settingOf } from "../../src/config/settings.ts";
import type { Where } from "../../src/config/where.ts";

const where: Where = { kind: "flag", name: "--x" };
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

describe("sizes", () => {
  it.each([
    ["1", 1],
    ["512b", 512],
    ["64k", 65_536],
    ["512m", 512 * 1024 ** 2],
    ["2g", 2 * 1024 ** 3],
    ["2GB", 2 * 1024 ** 3],
    ["1GiB", 1024 ** 3],
    ["1.5g", 1.5 * 1024 ** 3],
    ["3T", 3 * 1024 ** 4],
    ["2 g", 2 * 1024 ** 3],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseBytes(text, where)).toBe(bytes);
  });

  it.each(["", "g", "-1", "0", "0g", "1x", "1bb", "1bib", "1.g", "1e3", "0x10", "1 0", "9999999999999999t", "∞"])(
    "%j is refused",
    (text) => {
      expect(() => parseBytes(text, where)).toThrow(UsageError);
    },
  );

  it("are read as they are written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
        expect(parseBytes(formatBytes(bytes), where)).toBe(bytes);
      }),
    );
  });
});

describe("durations", () => {
  it.each([
    ["0", 0],
    ["30", 30 * second],
    ["0.5", 500],
    ["500ms", 500],
    ["30s", 30 * second],
    ["5m", 5 * minute],
    ["1h30m", 90 * minute],
    ["1.5h", 90 * minute],
    ["2d12h", 60 * hour],
    ["90:00", 90 * minute],
    ["02:03:04", 2 * hour + 3 * minute + 4 * second],
    ["100:00:00", 100 * hour],
    ["1-02", 26 * hour],
    ["1-02:03", 26 * hour + 3 * minute],
    ["1-02:03:04", 26 * hour + 3 * minute + 4 * second],
  ])("%s is %d ms", (text, milliseconds) => {
    expect(parseDuration(text, where)).toBe(milliseconds);
  });

  it.each([
    "",
    "s",
    "-1",
    "1x",
    "1h 30m",
    "30m1h",
    "5m5m",
    "1:60",
    "1:60:00",
    "1-24",
    "1-",
    "-5",
    "1:2:3:4",
    "1-2-3",
    "4000d",
    "99999999999999",
    "1..5h",
    "Infinity",
  ])("%j is refused", (text) => {
    expect(() => parseDuration(text, where)).toThrow(UsageError);
  });

  it("are read as they are written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3650 * day }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds), where)).toBe(milliseconds);
      }),
    );
  });

  it("are read in Slurm's form too", () => {
    const part = (max: number) => fc.integer({ min: 0, max });
    fc.assert(
      fc.property(part(3649), part(23), part(59), part(59), (d, h, m, s) => {
        const two = (n: number): string => String(n).padStart(2, "0");
        const expected = d * day + h * hour + m * minute + s * second;
        expect(parseDuration(`${d}-${two(h)}:${two(m)}:${two(s)}`, where)).toBe(expected);
      }),
    );
  });
});

describe("the rest", () => {
  it("truth values", () => {
    for (const text of ["true", "YES", "on", "1"]) expect(parseBoolean(text, where)).toBe(true);
    for (const text of ["False", "no", "off", "0"]) expect(parseBoolean(text, where)).toBe(false);
    expect(() => parseBoolean("maybe", where)).toThrow('--x: "maybe" is neither true nor false');
  });

  it("integers in a range", () => {
    expect(parseInteger("65535", where, 0, 65_535)).toBe(65_535);
    expect(Object.is(parseInteger("-0", where, 0, 1), 0)).toBe(true);
    for (const text of ["65536", "-1", "1.0", "1e2", "0x1", " 1", "", "12345678901234567890"]) {
      expect(() => parseInteger(text, where, 0, 65_535)).toThrow(UsageError);
    }
  });

  it("words, with a suggestion", () => {
    expect(parseWord("never", where, ["always", "never"])).toBe("never");
    expect(() => parseWord("nevre", where, ["always", "never"])).toThrow(
      expect.objectContaining({ hint: "did you mean never?" }),
    );
    expect(() => parseWord("x", where, ["always", "never"])).toThrow(
      expect.objectContaining({ hint: "write one of always, never" }),
    );
  });

  it("cpus and sets of them", () => {
    expect(parseCpus("1.5", where)).toBe(1.5);
    for (const text of ["0", "0.001", "-1", "x", "", "1e3"]) expect(() => parseCpus(text, where)).toThrow(UsageError);
    expect(parseCpuset("0-3,8", where)).toBe("0-3,8");
    for (const text of ["3-0", "a", "", "1,", "1-2-3"]) expect(() => parseCpuset(text, where)).toThrow(UsageError);
  });

  it("assignments", () => {
    expect(parseAssignment("A=b=c", where)).toEqual(["A", "b=c"]);
    expect(parseAssignment("A=", where)).toEqual(["A", ""]);
    for (const text of ["A", "=b", "1A=b", "A B=c", "A=\0"]) {
      expect(() => parseAssignment(text, where)).toThrow(UsageError);
    }
  });

  it("paths", () => {
    expect(parseAbsolutePath("/a//b/./c/../d/", where)).toBe("/a/b/d");
    for (const text of ["", "a", "./a", "~/a", "/a\0"]) {
      expect(() => parseAbsolutePath(text, where)).toThrow(UsageError);
    }
    expect(normalPath("/../..")).toBe("/");
  });

  it("errors name the place and are of its kind", () => {
    const file: Where = { kind: "file", path: "/etc/c.toml", line: 3, key: "memory" };
    expect(() => parseBytes("x", file)).toThrow(ConfigError);
    expect(() => parseBytes("x", file)).toThrow('/etc/c.toml:3: memory: "x" is not a size');
    expect(() => parseBytes("x", { kind: "variable", name: "GANGWAY_MEMORY" })).toThrow(ConfigError);
    expect(() => parseBytes("x\ny", where)).toThrow(/^[^\n]*$/);
  });
});

/** Whatever it is given: a value or a GangwayError of one line. */
function settles(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof GangwayError)) throw error;
    expect(error.message).not.toContain("\n");
  }
}

const nearMiss = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom(..."0123456789:-.=/~,;%_bkmgtsdhrw \n\0\"'\\") }),
  fc.stringMatching(/^[a-z/~.]{0,8}[:=-][0-9a-z/]{0,8}[:]?[a-z,]{0,8}$/),
);

describe("every setting", () => {
  it.each(settingKeys)("%s: garbage is a value or a GangwayError", (key) => {
    const { kind } = settingOf(key);
    const bases = { home: "/home/u", cwd: "/w" };
    fc.assert(
      fc.property(fc.array(nearMiss, { maxLength: 3 }), (texts) => settles(() => kind.fromTexts(texts, where, bases))),
    );
    const place: Where = { kind: "file", path: "/f", line: 1, key };
    fc.assert(
      fc.property(fc.anything({ withDate: true }), (value) => settles(() => kind.fromToml(value, place, bases))),
    );
  });

  it.each(settingKeys)("%s: what is read from any text is read again from its own form", (key) => {
    const { kind } = settingOf(key);
    const bases = { home: "/home/u", cwd: "/w" };
    fc.assert(
      fc.property(nearMiss, (text) => {
        let value: unknown;
        try {
          value = kind.fromTexts([text], where, bases);
        } catch {
          return;
        }
        expect(kind.fromTexts([kind.format(value)], where, bases)).toEqual(value);
      }),
    );
  });

  it("knows its own keys only", () => {
    expect(isSettingKey("memory")).toBe(true);
    for (const name of ["constructor", "__proto__", "toString", ""]) expect(isSettingKey(name)).toBe(false);
  });
});
