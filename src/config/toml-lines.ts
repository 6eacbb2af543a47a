/**
 * Finds the lines on which the keys of a TOML document stand, which the parser does not tell.
 *
 * It is only asked about text that the parser has accepted, so it need not check anything: it steps over strings and
 * brackets and never takes what is inside them for a key. It knows keys at the beginning of a statement and tables'
 * headers; what is inside an inline table is found on the line where that begins.
 */
export class TomlLines {
  readonly #lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
    let table: string[] = [];
    while (this.#skipBlank()) {
      const line = this.#line;
      if (this.#peek() === "[") {
        while (this.#peek() === "[") this.#step();
        table = this.#keys();
        this.#record(table, line);
        this.#skipToLineEnd();
      } else {
        const keys = this.#keys();
        this.#record([...table, ...keys], line);
        this.#skipValue();
      }
    }
  }

  /** The line (from 1) of a key path, else of the nearest thing around it. */
  lineOf(path: readonly string[]): number {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(pathId(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 1;
  }

  /** Every table on the way is "on" the line where it is first spoken of. */
  #record(path: readonly string[], line: number): void {
    for (let length = 1; length <= path.length; length++) {
      const id = pathId(path.slice(0, length));
      if (!this.#lines.has(id)) this.#lines.set(id, line);
    }
  }

  #peek(): string {
    return this.#text[this.#at] ?? "";
  }

  #step(count = 1): void {
    for (let i = 0; i < count; i++) {
      if (this.#text[this.#at] === "\n") this.#line++;
      this.#at++;
    }
  }

  /** To the next statement; false at the end of the text. */
  #skipBlank(): boolean {
    while (this.#at < this.#text.length) {
      if (this.#peek() === "#") this.#skipToLineEnd();
      else if (/\s/.test(this.#peek())) this.#step();
      else return true;
    }
    return false;
  }

  #skipToLineEnd(): void {
    while (this.#at < this.#text.length && this.#peek() !== "\n") this.#step();
  }

  /** A dotted key, up to the `=` or `]` behind it. */
  #keys(): string[] {
    const keys: string[] = [];
    while (this.#at < this.#text.length) {
      const letter = this.#peek();
      if (letter === "=" || letter === "]" || letter === "\n") break;
      if (letter === '"' || letter === "'") keys.push(this.#string());
      else if (letter === "." || /\s/.test(letter)) this.#step();
      else {
        const bare = /[^\s.=\]"']+/y;
        bare.lastIndex = this.#at;
        const word = bare.exec(this.#text)?.[0] ?? letter;
        keys.push(word);
        this.#step(word.length);
      }
    }
    return keys;
  }

  #skipValue(): void {
    let depth = 0;
    while (this.#at < this.#text.length) {
      const letter = this.#peek();
      if (letter === "\n" && depth === 0) return;
      if (letter === '"' || letter === "'") this.#string();
      else if (letter === "#") this.#skipToLineEnd();
      else {
        if (letter === "[" || letter === "{") depth++;
        if (letter === "]" || letter === "}") depth--;
        this.#step();
      }
    }
  }

  /** Steps over a string of any of the four kinds; returns what it means, as far as keys need it. */
  #string(): string {
    const quote = this.#peek();
    const triple = this.#text.startsWith(quote.repeat(3), this.#at);
    const fence = triple ? quote.repeat(3) : quote;
    const begin = this.#at + fence.length;
    let end = begin;
    while (end < this.#text.length && !this.#text.startsWith(fence, end)) {
      end += quote === '"' && this.#text[end] === "\\" ? 2 : 1;
    }
    // Up to two more quotes may belong to the content of a multi-line string: """a"""""
    while (triple && this.#text[end + 3] === quote) end++;
    const content = this.#text.slice(begin, end);
    this.#step(end + fence.length - this.#at);
    return quote === '"' ? decodeEscapes(content) : content;
  }
}

/** Key paths are compared as one text; no key can hold a NUL unescaped, and a wrong line is all that one could gain. */
function pathId(path: readonly string[]): string {
  return path.join("\0");
}

const ESCAPES: Readonly<Record<string, string>> = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\x1b" };

function decodeEscapes(content: string): string {
  return content.replaceAll(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gs,
    (_all, byte: string | undefined, short: string | undefined, long: string | undefined, letter = "") => {
      const code = byte ?? short ?? long;
      if (code === undefined) return ESCAPES[String(letter)] ?? String(letter);
      const point = Number.parseInt(code, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : "";
    },
  );
}
