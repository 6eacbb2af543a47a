import { writeSync } from "node:fs";
import { foldHostlist } from "../allocation/hostlist.ts";
import { printable, printableLines } from "../config/printable.ts";
import type { PullProgress } from "../engine/types.ts";
import { shortened } from "./nodes-lost.ts";

/** What the launcher tells people: on standard error, and progress only where a person looks on. */
export interface Reporter {
  /** One line that matters. */
  note(text: string): void;
  /** What is being waited for; shown only when it takes long, and overwritten by the next. */
  phase(text: string): void;
  /** @param node whose engine does, where that is another host's */
  pull(image: string, progress: PullProgress, node?: string): void;
  /** Takes away what {@link phase} shows. */
  quiet(): void;
}

const PATIENCE_MS = 700;
const REDRAW_MS = 100;
/** Nodes begin to pull at about the same time: they are named together. */
const GATHER_MS = 500;

export class StderrReporter implements Reporter {
  readonly #interactive: boolean;
  readonly #layers = new Map<string, PullProgress>();
  #timer: NodeJS.Timeout | undefined;
  #shown = false;
  #drawn = 0;
  readonly #write: (text: string) => void;
  /** Who pulls; undefined: nobody has said so yet. */
  #pullers: Set<string> | undefined;

  /**
   * @param interactive whether a person looks on, who is shown how it goes
   * @param write to standard error (tests)
   */
  constructor(interactive: boolean, write: (text: string) => void = writeStderr) {
    this.#interactive = interactive;
    this.#write = write;
  }

  note(text: string): void {
    this.quiet();
    this.#write(`gangway: ${printableLines(text)}\n`);
  }

  phase(text: string): void {
    if (!this.#interactive) return;
    clearTimeout(this.#timer);
    if (this.#shown) this.#draw(text);
    else this.#timer = setTimeout(() => this.#draw(text), PATIENCE_MS).unref();
  }

  pull(image: string, progress: PullProgress, node?: string): void {
    if (!this.#interactive) this.#tellOfPull(image, node);
    if (progress.total !== undefined) this.#layers.set(progress.layer, progress);
    if (!this.#interactive || Date.now() - this.#drawn < REDRAW_MS) return;
    const sum = (part: (layer: PullProgress) => number | undefined) =>
      [...this.#layers.values()].reduce((total, layer) => total + (part(layer) ?? 0), 0);
    const total = sum((layer) => layer.total);
    const done = Math.min(
      sum((layer) => layer.current),
      total,
    );
    const share = total > 0 ? ` ${Math.floor((100 * done) / total)} % of ${(total / 1e6).toFixed(1)} MB` : "";
    this.#draw(`pulling ${image}: ${progress.status.toLowerCase()}${share}`);
  }

  /** In a file one line must do, for all nodes: it tells what takes so long. */
  #tellOfPull(image: string, node: string | undefined): void {
    if (this.#pullers === undefined) {
      const pullers = new Set<string>();
      this.#pullers = pullers;
      const where = () => (pullers.size === 0 ? "" : ` on ${shortened(foldHostlist([...pullers]))}`);
      setTimeout(() => this.note(`pulling ${image}${where()}`), GATHER_MS).unref();
    }
    if (node !== undefined) this.#pullers.add(node);
  }

  quiet(): void {
    clearTimeout(this.#timer);
    if (this.#shown) this.#write("\r\x1b[K");
    this.#shown = false;
  }

  #draw(text: string): void {
    this.#drawn = Date.now();
    this.#shown = true;
    this.#write(`\r\x1b[K${printable(text).slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }
}

/** Standard error may be closed or full: messages are no reason to fail. */
function writeStderr(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody hears us.
  }
}
