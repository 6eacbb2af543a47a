import { fault, quote, type Where } from "../config/where.ts";
import { startEach } from "./each.ts";
import { checkPlainWords, type Starter } from "./starter.ts";

/** What stands for the host's name. */
const HOST = "%h";

/** How a site's own program is called for a host: its words, {@link HOST} among them or in them. */
export interface StartCommand {
  readonly words: readonly string[];
}

/**
 * Parses the setting `startCommand`: words with blanks between, such as `oarsh %h` or `blaunch %h`. There are no quotes, and
 * no shell reads it.
 *
 * @param where what the text is the value of, for messages
 * @throws GangwayError for one that names no program, or not the host exactly once
 */
export function parseStartCommand(text: string, where: Where): StartCommand {
  const words = text.split(/[ \t]+/).filter((word) => word !== "");
  const [program] = words;
  const hint = "write the program and its words, with %h for the host: oarsh %h";
  if (program === undefined) throw fault(where, "it names no program", hint);
  if (/["'`$\\]/.test(text)) throw fault(where, `${quote(text)}: no shell reads it, quotes and $ mean nothing`, hint);
  if (program.includes(HOST)) throw fault(where, `${quote(text)}: the host is no program`, hint);
  if (text.split(HOST).length !== 2) throw fault(where, `${quote(text)}: %h must stand in it once`, hint);
  return { words };
}

/** A site's own way: a program that is called once a host and runs the words behind its own there. */
export function commandStarter({ words }: StartCommand): Starter {
  return {
    title: words[0] ?? "",
    start({ nodes, argv, env }, events) {
      // Most such programs hand them to a shell, as ssh does.
      checkPlainWords(argv);
      return startEach(
        nodes,
        ({ name }) => [...words.map((word) => word.replace(HOST, () => name)), ...argv],
        env,
        events,
      );
    },
  };
}
