import { describe, expect, expectTypeOf, it } from "vitest";
import { flagText } from "../../src/config/flags.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Linger, Listen, Volume } from "../../src/config/parse-container.ts";
import { settingKeys, settingOf, settings, type Values, variableOf } from "../../src/config/settings.ts";
import { configJson, configReference, configRows } from "../../src/config/show.ts";

const sources = { env: {}, uid: process.geteuid?.() ?? 0, home: "/nonexistent", siteFile: "/nonexistent/config.toml" };

describe("gangway config show", () => {
  it("has a row for each setting, with value and origin", async () => {
    const flags = { memory: "2048m", volumes: ["/a:/b:ro"], timeLimit: "90m", port: "automatic" };
    const config = await loadConfig({ ...sources, flags, env: { GANGWAY_LINGER: "60" } });
    const rows = new Map(configRows(config).map((row) => [row.key, row]));
    expect([...rows.keys()]).toEqual(settingKeys);
    expect(rows.get("memory")).toMatchObject({ value: "2g", origin: "--memory" });
    expect(rows.get("volumes")).toMatchObject({ value: "/a:/b:ro", origin: "--volume" });
    expect(rows.get("timeLimit")).toMatchObject({ value: "1h30m" });
    expect(rows.get("port")).toMatchObject({ value: "automatic", origin: "--port" });
    expect(rows.get("linger")).toMatchObject({ value: "1m", origin: "GANGWAY_LINGER" });
    expect(rows.get("network")).toMatchObject({ value: `(${settings.network.defaultText})`, origin: "default" });
    expect(rows.get("pull")).toMatchObject({ value: "missing", origin: "default" });
  });

  it("has all values as JSON", async () => {
    const json = configJson(await loadConfig({ ...sources, flags: { memory: "1k" } }));
    expect(Object.keys(json)).toEqual(settingKeys);
    expect(JSON.parse(JSON.stringify(json))).toMatchObject({
      memory: { value: 1024, origin: "--memory" },
      port: { value: null, origin: "default" },
      volumes: { value: [] },
    });
  });
});

describe("the table", () => {
  it("the reference names every key, variable and flag", () => {
    const reference = configReference();
    for (const key of settingKeys) {
      expect(reference).toContain(`#### \`${key}\``);
      expect(reference).toContain(flagText(key));
      expect(reference.includes(`\`${variableOf(key)}\``)).toBe(settingOf(key).siteOnly !== true);
    }
    expect(reference).not.toMatch(/undefined|\[object|NaN/);
  });

  it.each(settingKeys)("%s is whole", (key) => {
    const { kind, default: standard, defaultText, flag, siteOnly, doc } = settingOf(key);
    expect(doc).toMatch(/^\S.*\.$/);
    expect(standard === undefined).toBe(defaultText !== undefined);
    expect(siteOnly === true && flag !== undefined).toBe(false);
    // A default that could not be written down would be a lie in the reference.
    const bases = { home: "/h" };
    const texts = kind.repeats ? [] : [kind.format(standard)];
    expect(kind.fromTexts(texts, { kind: "flag", name: "--x" }, bases)).toEqual(standard);
    if (flag?.negated !== undefined) kind.fromTexts([flag.negated], { kind: "flag", name: "--x" }, bases);
  });

  it("flags are distinct", () => {
    const names = settingKeys
      .flatMap((key) => settingOf(key).flag ?? [])
      .flatMap(({ name, short }) => [name, short ?? []]);
    expect(new Set(names.flat()).size).toBe(names.flat().length);
    expect(flagText("volumes")).toBe("-v, --volume SOURCE:TARGET[:OPTIONS]");
    expect(flagText("mountHome")).toBe("--[no-]mount-home");
    expect(flagText("listen")).toBe("--listen ADDRESS, --no-listen");
    expect(flagText("allowSessions")).toBe("");
  });

  it("gives each value its own type", () => {
    expectTypeOf<Values["pull"]>().toEqualTypeOf<"missing" | "always" | "never">();
    expectTypeOf<Values["port"]>().toEqualTypeOf<number | undefined>();
    expectTypeOf<Values["mountHome"]>().toEqualTypeOf<boolean>();
    expectTypeOf<Values["volumes"]>().toEqualTypeOf<readonly Volume[]>();
    expectTypeOf<Values["linger"]>().toEqualTypeOf<Linger>();
    expectTypeOf<Values["listen"]>().toEqualTypeOf<Listen>();
    expectTypeOf<Values["siteEnv"]>().toEqualTypeOf<Readonly<Record<string, string>>>();
    expectTypeOf<Values["prepareTimeout"]>().toEqualTypeOf<number>();
  });
});
