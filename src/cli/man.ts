import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { COMMANDS, DESCRIPTION } from "./main.ts";
import { type Manual, manualOf, manualOfHelp } from "./manual-model.ts";
import { renderManual } from "./manual-roff.ts";
import { print } from "./output.ts";

declare const GANGWAY_VERSION: string;

/** The page of the program itself. */
const OVERVIEW = "gangway";

/** Pages that a command's is better read with. */
const RELATED: Readonly<Record<string, readonly string[]>> = {
  run: ["gangway-shell"],
  shell: ["gangway-ssh"],
  ssh: ["gangway-shell", "ssh"],
  proxy: ["gangway-ssh-config", "ssh"],
  shifter: ["gangway-run"],
};

export function command(): Command {
  const man = new Command("gangway man")
    .description("Prints a manual page, made of the command's own definition: gangway man run | man -l -")
    .addArgument(new Command().createArgument("[command]", "whose; without it the program's own").choices(shown()))
    .addOption(new Option("--write <DIRECTORY>", "all pages, into files").hideHelp());
  return man.action(async (name: string | undefined, { write }: { write?: string }) => {
    if (write === undefined) return print(await page(name ?? OVERVIEW));
    for (const each of [OVERVIEW, ...shown()]) {
      const file = each === OVERVIEW ? OVERVIEW : `${OVERVIEW}-${each}`;
      writeFileSync(join(write, `${file}.1`), await page(each));
    }
  });
}

function shown(): string[] {
  return Object.keys(COMMANDS).filter((name) => COMMANDS[name]?.hidden === undefined);
}

async function page(name: string): Promise<string> {
  const entry = COMMANDS[name];
  if (entry === undefined)
    return renderManual(
      overview(),
      GANGWAY_VERSION,
      shown().map((each) => `gangway-${each}`),
    );
  const module = await entry.load();
  const { summary } = entry;
  const manual =
    "help" in module ? manualOfHelp(module.help, name, summary) : manualOf(module.command(), name, summary);
  return renderManual(manual, GANGWAY_VERSION, [OVERVIEW, ...(RELATED[name] ?? [])]);
}

function overview(): Manual {
  return {
    name: OVERVIEW,
    summary: "start a batch job's containers and reach into them",
    usage: ["gangway COMMAND [OPTION…]"],
    sections: [
      { title: "description", blocks: [{ kind: "paragraph", text: DESCRIPTION }] },
      {
        title: "commands",
        blocks: shown().map((name) => ({
          kind: "entry",
          term: `gangway-${name}(1)`,
          text: COMMANDS[name]?.summary ?? "",
        })),
      },
      {
        title: "files",
        blocks: [
          { kind: "entry", term: "/etc/gangway/config.toml", text: "the site's settings" },
          {
            kind: "entry",
            term: "~/.config/gangway/config.toml",
            text: "the user's; `gangway config show` tells them all",
          },
          {
            kind: "entry",
            term: "~/.gangway/ssh/",
            text: "by which plain ssh reaches jobs, where `gangway ssh-config --install` was called",
          },
        ],
      },
    ],
  };
}
