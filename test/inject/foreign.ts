import { randomBytes } from "node:crypto";
import { gangway, type RigEngine, type RunOptions, type RunResult, run, UDI_IMAGE } from "../job/harness.ts";

/** A container that Gangway did not start: made by the engine's own client. */
export class ForeignContainer {
  readonly engine: RigEngine;
  readonly name: string;
  readonly id: string;
  /** What the engine said had changed in it before anything was done. */
  readonly before: string;

  private constructor(engine: RigEngine, name: string, id: string, before: string) {
    this.engine = engine;
    this.name = name;
    this.id = id;
    this.before = before;
  }

  /** @param words options, image and command, as for `docker run -d` */
  static async start(engine: RigEngine, words: readonly string[]): Promise<ForeignContainer> {
    const name = `foreign-${randomBytes(4).toString("hex")}`;
    const network = engine.bridged || words.includes("--network") ? [] : ["--network", "host"];
    const { stdout } = await docker(engine, ["run", "-d", "--name", name, ...network, ...words]);
    return new ForeignContainer(engine, name, stdout.trim(), await diffOf(engine, name));
  }

  /** `gangway inject OPTIONS NAME COMMAND`. */
  async inject(
    command: readonly string[] = [],
    { words = [], ...options }: RunOptions & { words?: readonly string[] } = {},
  ): Promise<RunResult> {
    return await gangway(["inject", ...words, this.name, ...command], { engine: this.engine, ...options });
  }

  async withdraw(words: readonly string[] = []): Promise<RunResult> {
    return await gangway(["inject", "--withdraw", ...words, this.name], { engine: this.engine });
  }

  /** `docker exec`. */
  async exec(command: readonly string[], words: readonly string[] = []): Promise<RunResult> {
    const argv = ["docker", "-H", this.engine.endpoint, "exec", ...words, this.name, ...command];
    return await run(argv, { engine: this.engine });
  }

  /** What has changed in its files, line by line. */
  async diff(): Promise<string> {
    return await diffOf(this.engine, this.name);
  }

  /** Command lines of its processes, without that of whoever asks. */
  async processes(): Promise<string> {
    const script =
      "for pid in /proc/[0-9]*; do [ $pid = /proc/$$ ] || tr '\\0' ' ' < $pid/cmdline; echo; done 2>/dev/null";
    return (await this.exec(["sh", "-c", script])).stdout;
  }

  async remove(): Promise<void> {
    await docker(this.engine, ["rm", "-f", this.name]);
  }
}

async function diffOf(engine: RigEngine, name: string): Promise<string> {
  return (await docker(engine, ["diff", name])).stdout.split("\n").sort().join("\n");
}

/** The engine's own client; it must succeed. */
export async function docker(engine: RigEngine, words: readonly string[], input?: Buffer): Promise<RunResult> {
  const argv = ["docker", "-H", engine.endpoint, ...words];
  const result = await run(argv, { engine, ...(input === undefined ? {} : { input }) });
  if (result.code !== 0) throw new Error(`docker ${words.join(" ")}: ${result.stderr}`);
  return result;
}

/** An image with one program that only waits: no shell, no account, no directory. */
export async function importScratch(engine: RigEngine, name: string): Promise<void> {
  const busybox = `${UDI_IMAGE}/tools/busybox`;
  const archive = await run(["tar", "-c", "-P", "--transform", "s,.*/,,;s,^busybox,sleep,", busybox]);
  await docker(engine, ["import", "-", name], archive.bytes);
}
