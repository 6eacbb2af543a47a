import { writeSync } from "node:fs";
import type { PullProgress } from "../engine/types.ts";

/** What the launcher tells people: on standard error, and progress only where a person looks on. */
export interface Reporter {
  /** One line that matters. */
  note(text: string): void;
  /** What is being waited for; shown only when it takes long, and overwritten by the next. */
  phase(text: string): void;
  pull(image: string, progress: PullProgress): void;
  /** Takes away what {@link phase} shows. */
  quiet(): void;
}

const PATIENCE_MS = 700;
const REDRAW_MS = 100;

export class StderrReporter implements Reporter {
  readonly #interactive: boolean;
  readonly #layers = new Map<string, PullProgress>();
  #timer: NodeJS.Timeout | undefined;
  #shown = false;
  #drawn = 0;

  constructor(interactive: boolean) {
    this.#interactive = interactive;
  }

  note(text: string): void {
    this.quiet();
    writeStderr(`gangway: ${text}\n`);
  }

  phase(text: string): void {
    if (!this.#interactive) return;
    clearTimeout(this.#timer);
    if (this.#shown) this.#draw(text);
    else this.#timer = setTimeout(() => this.#draw(text), PATIENCE_MS).unref();
  }

  pull(image: string, progress: PullProgress): void {
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

  quiet(): void {
    clearTimeout(this.#timer);
    if (this.#shown) writeStderr("\r\x1b[K");
    this.#shown = false;
  }

  #draw(text: string): void {
    this.#drawn = Date.now();
    this.#shown = true;
    writeStderr(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
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
