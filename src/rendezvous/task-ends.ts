/** What a process said before its end comes on another pipe than the word of its end, and tells more. */
const OUTPUT_LIMIT_MS = 500;

type OnEnd = (nodes: readonly number[], reason: string) => void;

/** Tells the end of each of a step's nodes once: by what was said of its task, else when the step is over. */
export class TaskEnds {
  readonly #onEnd: OnEnd;
  readonly #left: Set<number>;
  readonly #pending = new Map<NodeJS.Timeout, () => void>();

  /** @param nodes of the step, by their indices */
  constructor(nodes: readonly number[], onEnd: OnEnd) {
    this.#left = new Set(nodes);
    this.#onEnd = onEnd;
  }

  /** Tasks have ended: that is told when what they said has come, too. */
  expect(nodes: readonly number[], reason: string): void {
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      this.#tell(nodes, reason);
    }, OUTPUT_LIMIT_MS);
    timer.unref();
    this.#pending.set(timer, () => this.#tell(nodes, reason));
  }

  /** All is read, and the step is over. */
  end(reason: string): void {
    for (const [timer, tell] of this.#pending) {
      clearTimeout(timer);
      tell();
    }
    this.#pending.clear();
    this.#tell([...this.#left], reason);
  }

  #tell(nodes: readonly number[], reason: string): void {
    const ended = nodes.filter((node) => this.#left.delete(node));
    if (ended.length > 0) this.#onEnd(ended, reason);
  }
}
