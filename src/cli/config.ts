import { Command } from "commander";
import { UsageError } from "../config/errors.ts";
import { configJson, configRows } from "../config/show.ts";
import { didYouMean } from "../config/suggest.ts";
import { configure } from "./context.ts";
import { print } from "./output.ts";
import { renderTable } from "./table.ts";

export function command(): Command {
  return new Command("gangway config")
    .description("The settings, and where each came from.")
    .usage("[show] [OPTION…]")
    .argument("[word]", "show, which is also meant without it")
    .option("--json", "for programs")
    .action(async (word: string | undefined, options: { json?: boolean }) => {
      if (word !== undefined && word !== "show") {
        throw new UsageError(`unknown command '${word}'`, {
          hint: didYouMean(word, ["show"], "gangway config show") ?? "",
        });
      }
      await show(options.json === true);
    });
}

async function show(json: boolean): Promise<void> {
  const settings = await configure({});
  if (json) {
    print(`${JSON.stringify(configJson(settings), null, 2)}\n`);
    return;
  }
  const rows = configRows(settings).map(({ key, value, origin }) => [key, value === "" ? "(none)" : value, origin]);
  print(renderTable([["SETTING", "VALUE", "FROM"], ...rows]));
}
