import { Command } from "commander";
import { configJson, configRows } from "../config/show.ts";
import { configure } from "./context.ts";
import { print } from "./output.ts";
import { renderTable } from "./table.ts";

export function command(): Command {
  const config = new Command("gangway config").description("The settings, and where each came from.");
  config
    .command("show", { isDefault: true })
    .description("All settings with their values and where each was said.")
    .option("--json", "for programs")
    .action(async (options: { json?: boolean }) => {
      const settings = await configure({});
      if (options.json === true) print(`${JSON.stringify(configJson(settings), null, 2)}\n`);
      else {
        const rows = configRows(settings).map(({ key, value, origin }) => [
          key,
          value === "" ? "(none)" : value,
          origin,
        ]);
        print(renderTable([["SETTING", "VALUE", "FROM"], ...rows]));
      }
    });
  return config;
}
