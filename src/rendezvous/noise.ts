/** What is kept of all that starters and node processes say beside their frames. */
const MOST_KEPT = 64 * 1024;
/** Lines of a message. */
const TOLD = 3;

interface Remark {
  /** Index of the node that said it, where that is known. */
  readonly node: number | undefined;
  readonly text: string;
}

/** The last lines that were no frames: for messages, never parsed. */
export class Noise {
  readonly #remarks: Remark[] = [];
  #length = 0;

  /** @param node who said it, where that is known */
  add(line: string, node?: number): void {
    // Terminals obey what a message is not meant to say.
    const text = line.replaceAll(/\p{Cc}+/gu, " ").trim();
    if (text === "") return;
    this.#remarks.push({ node, text });
    this.#length += text.length + 1;
    while (this.#length > MOST_KEPT) {
      const oldest = this.#remarks.shift();
      if (oldest === undefined) break;
      this.#length -= oldest.text.length + 1;
    }
  }

  /** All that is kept. */
  text(): string {
    return this.#remarks.map(({ text }) => text).join("\n");
  }

  // The name is a host's (isNodeName): of what means something in an expression it has dots alone.
  /**
   * The last lines that a node said, or that name it; where there are none, the last that belong to no node.
   *
   * @param label that what the node says has in front, `LABEL: `, where that is known
   */
  about(node: { readonly index: number; readonly name: string }, label?: RegExp): string | undefined {
    const named = new RegExp(String.raw`(?<![\w.-])${node.name.replaceAll(".", String.raw`\.`)}(?![\w-])`);
    const own = this.#remarks.filter(
      (remark) => remark.node === node.index || named.test(remark.text) || label?.test(remark.text),
    );
    const told = own.length > 0 ? own : this.#remarks.filter((remark) => remark.node === undefined);
    return told.length === 0
      ? undefined
      : told
          .slice(-TOLD)
          .map(({ text }) => (label === undefined ? text : text.replace(label, "")))
          .join("; ");
  }
}
