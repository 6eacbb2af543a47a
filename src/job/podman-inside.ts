import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withCoresAsBefore } from "../config/core-dumps.ts";
import { EngineError } from "../config/errors.ts";
import { formatIdentity, thisProcess } from "./process.ts";

/** How long Podman may take until it answers. */
const START_LIMIT_MS = 30_000;
const LOOK_MS = 20;
/** As much of what it says as a message can use. */
const KEPT_WORDS = 2000;

/**
 * Starts Podman's service, and ends it with whoever holds its standard input: on a word at once; where the launcher was
 * killed, when the watchdog has had the time to remove by it what is left. Its own end is the end of this, too. What it says
 * goes to a file: a pipe to a launcher that is dead would end it (SIGPIPE).
 * $1: the directory, $2: the socket in it.
 */
const LIFELINE = `
exec 3<&0
podman --log-level error system service --time=0 "unix://$2" </dev/null 2>"$1/log" 3<&- & engine=$!
{
  read -r word || sleep 20
  kill $engine; sleep 5; kill -9 $engine
} <&3 >/dev/null 2>&1 & watch=$!
exec 3<&-
wait $engine
status=$?
kill $watch
[ $status = 0 ] || cat "$1/log" >&2
rm -rf "$1"`;

/**
 * The user's own Podman once more, started by this process: it and all its containers are in the cgroups, and have the cpus
 * and limits, that this process has. It has the same images and containers, and a socket of its own, in a directory
 * that only the user can enter.
 */
export class PodmanInside {
  readonly socketPath: string;
  readonly #directory: string;
  readonly #child: ChildProcess;
  #words = "";

  /**
   * @param runBase BASE of docs/internals.md, section 3, checked; the user's, who this process has to be
   * @param udiImage its shell keeps the lifeline
   */
  constructor(runBase: string, udiImage: string) {
    const me = thisProcess();
    // No job's id begins with a dot. As in a job's directory, `launcher` tells `gangway gc` whose it is.
    this.#directory = join(runBase, `.engine-${me.pid}-${me.start.split("@")[0]}`);
    this.socketPath = join(this.#directory, "engine.sock");
    mkdirSync(this.#directory, { mode: 0o700 });
    writeFileSync(join(this.#directory, "launcher"), `${formatIdentity(me)}\n`, { flag: "wx", mode: 0o600 });
    // In a session of its own: ^C is the command's.
    const words = ["-c", LIFELINE, "sh", this.#directory, this.socketPath];
    this.#child = withCoresAsBefore(() =>
      spawn(join(udiImage, "tools/sh"), words, { stdio: ["pipe", "ignore", "pipe"], detached: true, cwd: "/" }),
    );
    this.#child.on("error", () => undefined);
    this.#child.stdin?.on("error", () => undefined);
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#words = (this.#words + chunk.toString("utf8")).slice(-KEPT_WORDS);
    });
    this.#child.unref();
  }

  /** Waits until it answers. @throws EngineError when it ends before, or takes too long */
  async ready(): Promise<void> {
    const deadline = Date.now() + START_LIMIT_MS;
    while (!(await this.#answers())) {
      if (this.#hasEnded || Date.now() > deadline) {
        const last = this.#words.trim().split("\n").at(-1) ?? "";
        throw new EngineError(`no Podman could be started inside the job${last === "" ? "" : `: ${last}`}`, {
          hint: "is podman in the PATH, and does `podman info` work inside the job?",
        });
      }
      await sleep(LOOK_MS);
    }
    this.#child.stderr?.removeAllListeners("data").resume();
  }

  /** By itself, by a signal (a manager kills all of a step), or it was never started. */
  get #hasEnded(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection({ path: this.socketPath });
      const done = (yes: boolean) => {
        socket.destroy();
        resolve(yes);
      };
      socket.once("connect", () => done(true));
      socket.once("error", () => done(false));
    });
  }

  /** Ends it. */
  async stop(): Promise<void> {
    if (!this.#hasEnded) {
      const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
      this.#child.ref();
      this.#child.stdin?.end("end\n");
      await gone;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
