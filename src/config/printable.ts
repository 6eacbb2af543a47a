/** Text that others may have written, on other hosts, in labels and in files: a terminal must not obey it. One line. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "?");
}

/** The same for a text of several lines, which stay lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
