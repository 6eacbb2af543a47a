import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GANGWAY, gangway, IMAGES, type RunOptions, type RunResult, run, start, USER } from "./harness.ts";

export interface HeldOptions extends RunOptions {
  readonly image?: string;
  readonly nodes?: number;
  /** The job's id; without it one of its own. */
  readonly name?: string;
  /** Further words for `gangway run`. */
  readonly words?: readonly string[];
  /** Instead of the program that waits for the end of its input; it has to print "ready" first. */
  readonly command?: readonly string[];
}

let count = 0;

/** A job that runs until it is told to end, for tests that look at it or go in. */
export class HeldJob {
  readonly id: string;
  readonly options: HeldOptions;
  readonly #child: ReturnType<typeof start>;
  readonly #ended: Promise<number>;
  #stdout = "";
  #stderr = "";

  private constructor(options: HeldOptions) {
    count += 1;
    this.id = options.name ?? `held-${process.pid}-${count}`;
    this.options = options;
    const image = options.image ?? IMAGES.bare;
    const probe = image === IMAGES.scratch ? "/probe" : "probe";
    this.#child = start(
      [
        GANGWAY,
        ...["run", "--image", image, "--name", this.id, "--nodes", String(options.nodes ?? 1), "--pull", "never"],
        ...(options.words ?? []),
        "--",
        ...(options.command ?? [probe, "say", "ready", "--", "cat"]),
      ],
      options,
    );
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      this.#stdout += chunk;
    });
    this.#child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      this.#stderr += chunk;
    });
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => resolve(signal === null ? (code ?? 0) : -1));
    });
  }

  /** Starts one and waits until its command runs. */
  static async start(options: HeldOptions = {}): Promise<HeldJob> {
    const job = new HeldJob(options);
    const running = new Promise<true>((resolve) => {
      job.#child.stdout.on("data", () => job.#stdout.includes("ready\n") && resolve(true));
    });
    if ((await Promise.race([running, job.#ended])) !== true) throw new Error(`no job: ${job.#stderr}`);
    return job;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The job's directory on the host (docs/internals.md, section 3). */
  get directory(): string {
    return join((this.options.user ?? USER).runtime, "gangway", this.id);
  }

  /** A file of a node's run directory, on the host. */
  file(node: number, name: string): string {
    return join(this.directory, String(node), name);
  }

  read(node: number, name: string): string {
    return readFileSync(this.file(node, name), "utf8");
  }

  /** Runs a command in the container of the head, or of the node named, as `gangway shell` does. */
  async shell(command: readonly string[], node = "", options: RunOptions = {}): Promise<RunResult> {
    const target = node === "" ? this.id : `${this.id}.${node}`;
    return await gangway(["shell", target, "--", ...command], { ...this.options, ...options });
  }

  /** The same by the access kit and a plain OpenSSH client alone, without `gangway`. */
  async ssh(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return await run(["ssh", "-F", join(this.directory, "kit/ssh_config"), ...words], { ...this.options, ...options });
  }

  /** Writes to the command's standard input. */
  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Sends the launcher a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The launcher's exit code, once it has one; -1 when a signal ended it. */
  async ended(): Promise<number> {
    return await this.#ended;
  }

  /** Ends the command's input, and with it the job. */
  async end(): Promise<number> {
    this.#child.stdin.end();
    return await this.#ended;
  }
}
