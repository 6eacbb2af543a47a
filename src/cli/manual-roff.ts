import type { Block, Manual } from "./manual-model.ts";

/** Text for roff: nothing in it is an escape or, at a line's beginning, a request. Dashes are those that can be copied. */
function plain(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga")
    .replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti")
    .replaceAll("…", "\\&.\\|.\\|.\\&")
    .replace(/^\./gm, "\\&.");
}

/** A word of a request's line. */
function argument(text: string): string {
  return `"${plain(text).replaceAll('"', "\\(dq")}"`;
}

/** Options bold, what stands for something (in capitals, or an operand's name) in italics. */
function term(text: string): string {
  return text
    .split(/(--?[A-Za-z][A-Za-z-]*)/)
    .map((part, index) => {
      if (index % 2 === 1) return `\\fB${plain(part)}\\fR`;
      return part
        .split(/([A-Z][A-Z_]+)/)
        .map((piece, at) => (at % 2 === 1 ? `\\fI${plain(piece)}\\fR` : plain(piece)))
        .join("");
    })
    .join("");
}

/** Words that are to be typed, set in `…` in our texts, are bold. */
function prose(text: string): string {
  const parts = text.split(/`([^`]+)`/);
  return parts.map((part, index) => (index % 2 === 1 ? `\\fB${plain(part)}\\fR` : plain(part))).join("");
}

/** Source lines as mandoc wants them, broken at blanks: they are filled anew anyhow. */
function wrapped(text: string): string {
  return text
    .replace(/(.{1,78})(?: +|$)/g, "$1\n")
    .replace(/^\./gm, "\\&.")
    .trimEnd();
}

function block(each: Block): string[] {
  switch (each.kind) {
    case "paragraph":
      return [".PP", wrapped(prose(each.text))];
    case "lines":
      return [".PP", ".EX", ...each.lines.map((line) => plain(line).replace(/^$/, "\\&")), ".EE"];
    case "entry":
      return [".TP", term(each.term), wrapped(prose(each.text))];
  }
}

/**
 * A manual page in man(7), for groff and mandoc.
 *
 * @param version of the program
 * @param related names of further pages
 */
export function renderManual(
  { name, summary, usage, sections }: Manual,
  version: string,
  related: readonly string[],
): string {
  const lines = [
    '.\\" Made by `gangway man`.',
    `.TH ${argument(name.toUpperCase())} 1 "" ${argument(`gangway ${version}`)} "Gangway"`,
    ".SH NAME",
    `${plain(name)} \\- ${plain(summary)}`,
    ".SH SYNOPSIS",
    ...usage.flatMap((line, index) => [
      ...(index === 0 ? [] : [".br"]),
      `\\fB${plain(commandOf(line))}\\fR${term(line.slice(commandOf(line).length))}`,
    ]),
    ...sections.flatMap(({ title, blocks }) => [
      `.SH ${argument(title.toUpperCase())}`,
      ...blocks.flatMap(withoutSpace),
    ]),
    ".SH SEE ALSO",
    related.map((page) => `\\fB${plain(page)}\\fR(1)`).join(",\n"),
  ];
  return `${lines.join("\n")}\n`;
}

/** A heading has its own space: a paragraph right behind it needs none. */
function withoutSpace(each: Block, index: number): string[] {
  const lines = block(each);
  return index === 0 && lines[0] === ".PP" ? lines.slice(1) : lines;
}

/** `gangway key list` of a usage. */
function commandOf(usage: string): string {
  return /^gangway( [a-z][a-z_-]*)*/.exec(usage)?.[0] ?? "";
}
