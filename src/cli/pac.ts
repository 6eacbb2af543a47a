import { Command } from "commander";
import { printable } from "../config/printable.ts";
import { noteOn, parseSocksAddress, parseUrlPattern, renderPac } from "../session/pac.ts";
import { print } from "./output.ts";

export function command(): Command {
  return new Command("gangway pac")
    .description("Writes a proxy auto-configuration: what a browser is to fetch through a session's SOCKS port.")
    .usage("--socks [HOST:]PORT PATTERN…")
    .argument("<patterns...>", "[SCHEME://]HOST[:PORT][/PATH], where * stands for any text; quoted, for your shell")
    .requiredOption("-s, --socks <[HOST:]PORT>", "the port that `gangway ssh -D PORT JOB` opened")
    .option("--data-url", "as one URL that holds the file, for browsers that read none from disk")
    .action((words: string[], { socks, dataUrl }: { socks: string; dataUrl?: true }) => {
      const address = parseSocksAddress(socks);
      const patterns = words.map(parseUrlPattern);
      for (const pattern of patterns) {
        const note = noteOn(pattern);
        if (note !== undefined) process.stderr.write(`gangway: ${printable(note)}\n`);
      }
      const file = renderPac(address, patterns);
      print(dataUrl === true ? `${dataUrlOf(file)}\n` : file);
    });
}

/** RFC 2397. The media type is the one that Netscape gave such files, and all browsers know. */
function dataUrlOf(file: string): string {
  return `data:application/x-ns-proxy-autoconfig;base64,${Buffer.from(file).toString("base64")}`;
}
