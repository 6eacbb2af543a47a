import { STATUS, UsageError } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";

/**
 * How a command is written as one text.
 *
 * `plain`: blanks part, single and double quotes hold together, as in a shell but without anything else of a shell's.
 * `htcondor`: HTCondor's "new syntax" of arguments: blanks part, single quotes hold together, a doubled one within them is one
 * of the text's own; a double quote is a letter (manual of condor_submit, "arguments").
 */
export type WordStyle = "plain" | "htcondor";

const BLANK = /[ \t\n]/;

/**
 * Takes a text apart into words. No shell sees it.
 *
 * @param what names the text in the message, such as `--ssh`
 * @throws UsageError (exit status 64) for a quote without its end, or a NUL
 */
export function splitWords(text: string, what: string, style: WordStyle = "plain"): string[] {
  if (text.includes("\0")) throw new UsageError(`${what}: there is a NUL in it`, { exitCode: STATUS.usage });
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const letter = text.charAt(at);
    if (BLANK.test(letter)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (letter === "'" || (letter === '"' && style === "plain")) {
      const { content, end } = readQuoted(text, at, what, style);
      word = (word ?? "") + content;
      at = end;
    } else word = (word ?? "") + letter;
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** @returns what is in the quotes, and where the last of them stands */
function readQuoted(text: string, start: number, what: string, style: WordStyle): { content: string; end: number } {
  const quote = text.charAt(start);
  let content = "";
  for (let from = start + 1; ; ) {
    const end = text.indexOf(quote, from);
    if (end === -1) {
      throw new UsageError(`${what} ${quoted(text)}: the quote ${quote} has no end`, {
        hint: "words are parted by blanks; what has blanks in it stands in quotes",
        exitCode: STATUS.usage,
      });
    }
    content += text.slice(from, end);
    if (style === "plain" || text.charAt(end + 1) !== quote) return { content, end };
    content += quote;
    from = end + 2;
  }
}
