import { flagText } from "./flags.ts";
import type { Config } from "./load.ts";
import { type SettingKey, settingKeys, settingOf, variableOf } from "./settings.ts";

export interface ConfigRow {
  readonly key: SettingKey;
  /** As one would write it in a variable; in parentheses what the system does where nothing is set. */
  readonly value: string;
  readonly origin: string;
  readonly documentation: string;
}

/** What `gangway config show` prints, in the order of the table. */
export function configRows(config: Config): readonly ConfigRow[] {
  return settingKeys.map((key) => {
    const { kind, defaultText, doc } = settingOf(key);
    const value = config.values[key];
    const unset = value === undefined && config.origin(key) === "default" && defaultText !== undefined;
    const shown = unset ? `(${defaultText})` : kind.format(value);
    return { key, value: shown, origin: config.origin(key), documentation: doc };
  });
}

/** What `gangway config show --json` prints: values as they are used (sizes in bytes, durations in milliseconds). */
export function configJson(config: Config): Record<string, { readonly value: unknown; readonly origin: string }> {
  return Object.fromEntries(
    settingKeys.map((key) => [key, { value: config.values[key] ?? null, origin: config.origin(key) }]),
  );
}

/** The reference of all settings, in Markdown, as the administrator's manual includes it. */
export function configReference(): string {
  return settingKeys.map(referenceOf).join("\n");
}

function referenceOf(key: SettingKey): string {
  const { kind, doc, default: standard, defaultText, siteOnly } = settingOf(key);
  const flag = flagText(key);
  const ways = siteOnly === true ? ["site file only"] : [`\`${variableOf(key)}\``, ...(flag ? [`\`${flag}\``] : [])];
  const empty = Array.isArray(standard) ? "an empty list" : "an empty table";
  const text = defaultText ?? (kind.repeats ? empty : `\`${kind.format(standard)}\``);
  return [
    `#### \`${key}\``,
    "",
    doc,
    "",
    `- Value: ${kind.written}`,
    `- Default: ${text}`,
    `- Also: ${ways.join(", ")}`,
    ...(kind.repeats ? ["- Several sources add up"] : []),
    "",
  ].join("\n");
}
