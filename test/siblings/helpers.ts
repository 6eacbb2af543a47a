// Builds the C programs as the udiImage's recipe does, with the paths of a test, and drives them.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const sources = join(root, "udiImage/src");
export const built = join(root, "build/siblings");

/** What the session entry has compiled in; the tests of it own these places. */
export const sessionRunDir = join(tmpdir(), `gangway-session-${process.pid}`);
export const sftpServer = join(sessionRunDir, "sftp-server");

function newest(directory: string): number {
  return Math.max(
    ...readdirSync(directory, { recursive: true }).map((name) => statSync(join(directory, String(name))).mtimeMs),
  );
}

function compile(name: string, compiler: string, flags: string[], files: string[], always = false): string {
  const target = join(built, name);
  const changed = Math.max(newest(sources), newest(import.meta.dirname));
  mkdirSync(built, { recursive: true });
  if (always || !existsSync(target) || statSync(target).mtimeMs < changed)
    execFileSync(compiler, ["-static", "-Os", "-Wall", "-Wextra", "-Werror", ...flags, "-o", target, ...files], {
      stdio: ["ignore", "inherit", "inherit"],
    });
  return target;
}

const common = readdirSync(join(sources, "common"))
  .filter((name) => name.endsWith(".c"))
  .map((name) => join(sources, "common", name));
const text = (value: string) => `"${value}"`;

/** musl has none of the kernel's headers: those of this machine, behind its own (as the udiImage's recipe does it). */
const multiarch = execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
const kernelHeaders = ["-idirafter", "/usr/include", "-idirafter", `/usr/include/${multiarch}`];

/** `program` is one of udiImage/src; `as` its name in build/siblings when it is built with other paths. */
function sibling(program: string, defines: Record<string, string> = {}, as = program, always = false): string {
  const flags = Object.entries(defines).map(([name, value]) => `-D${name}=${value}`);
  return compile(
    as,
    "musl-gcc",
    [`-I${sources}`, ...kernelHeaders, ...flags],
    [join(sources, `${program}.c`), ...common],
    always,
  );
}

export function buildAll() {
  const helper = (name: string, flags: string[] = []) =>
    compile(name, "gcc", flags, [join(import.meta.dirname, `${name}.c`)]);
  const witness = helper("witness");
  const fakeSshd = helper("fake-sshd", [`-DWITNESS=${text(witness)}`]);
  return {
    rig: helper("rig"),
    passing: helper("passing"),
    witness,
    init: sibling("init", { SSHD_PATH: text(fakeSshd) }),
    initWithoutSshd: sibling("init", { SSHD_PATH: text("/nonexistent/sshd") }, "init-without-sshd"),
    connector: sibling("connector"),
    hastyConnector: sibling("connector", { CONNECT_MS: "300" }, "connector-hasty"),
    watchdog: sibling("watchdog"),
    briskWatchdog: sibling("watchdog", { PAUSE_MS: "4" }, "watchdog-brisk"),
    hastyWatchdog: sibling("watchdog", { PAUSE_MS: "4", SILENCE_MS: "1500", NO_HELP_MS: "500" }, "watchdog-hasty"),
  };
}

/** With this process' places compiled in; whoever builds it removes it. */
export function buildSession(): string {
  return sibling(
    "session",
    {
      RUN_DIR: text(sessionRunDir),
      SFTP_SERVER: text(sftpServer),
      TOOLS_SHELL: text(join(sessionRunDir, "tools-sh")),
    },
    `session-${process.pid}`,
    true,
  );
}

const places: string[] = [];

/** A private directory, gone with `cleanUp`. */
export function makeDirectory(): string {
  const place = mkdtempSync(join(tmpdir(), "gangway-"));
  places.push(place);
  return place;
}

/** A run directory as the launcher prepares it, as far as init looks at it. */
export function makeRunDir(): string {
  const place = makeDirectory();
  writeFileSync(join(place, "sshd_config"), "");
  return place;
}

const running = new Set<Started>();

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

/** Processes with a path below one of these directories in their words. */
export function startedIn(directories: readonly string[]): number[] {
  const isOne = (words: string) => directories.some((directory) => words.includes(`${directory}/`));
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return isOne(readFileSync(`/proc/${pid}/cmdline`, "latin1")) && isAlive(pid);
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });
}

export async function cleanUp(): Promise<void> {
  for (const started of running) started.process.kill("SIGKILL");
  await Promise.all([...running].map((started) => started.ended));
  for (const launcher of Launcher.open) launcher.close();
  // What left its session outlives its init here: no PID namespace takes it along.
  for (const pid of startedIn(places)) kill(pid);
  for (const place of places.splice(0)) rmSync(place, { recursive: true, force: true });
}

export async function until(what: string | (() => string), holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`never came true: ${typeof what === "string" ? what : what()}`);
}

/** A process that is there and not a zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** The processes, zombies aside, whose environment has this in it. */
export function processesWith(marker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(marker) && isAlive(pid);
      } catch {
        return false;
      }
    });
}

export class Started {
  readonly process: ChildProcess;
  stdout = Buffer.alloc(0);
  stderr = Buffer.alloc(0);
  readonly ended: Promise<number>;

  constructor(
    program: string,
    args: string[],
    options: { env?: NodeJS.ProcessEnv; cwd?: string; stdin?: "pipe" | "ignore"; argv0?: string } = {},
  ) {
    this.process = spawn(program, args, {
      stdio: [options.stdin ?? "pipe", "pipe", "pipe"],
      env: options.env ?? process.env,
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      ...(options.argv0 !== undefined && { argv0: options.argv0 }),
    });
    running.add(this);
    this.process.stdin?.on("error", () => {});
    this.process.stdout?.on("data", (data: Buffer) => {
      this.stdout = Buffer.concat([this.stdout, data]);
    });
    this.process.stderr?.on("data", (data: Buffer) => {
      this.stderr = Buffer.concat([this.stderr, data]);
    });
    this.ended = new Promise((done) => {
      this.process.on("close", (code, signal) => {
        running.delete(this);
        done(code ?? (signal ? -1 : -2));
      });
      this.process.on("error", () => {
        running.delete(this);
        done(-3);
      });
    });
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  out(): string {
    return this.stdout.toString();
  }

  err(): string {
    return this.stderr.toString();
  }

  async says(expected: string | RegExp): Promise<void> {
    await until(`${String(expected)} in the output`, () =>
      typeof expected === "string" ? this.out().includes(expected) : expected.test(this.out()),
    );
  }

  /** The one child of the rig: init, as the host sees it. */
  async child(): Promise<number> {
    let pid = 0;
    await until("the rig has a child", () => {
      pid = Number(readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").trim().split(" ")[0]);
      return pid > 0;
    });
    return pid;
  }
}

/** The other side of `ctl`. */
export class Launcher {
  static readonly open = new Set<Launcher>();
  readonly lines: string[] = [];
  socket: Socket | undefined;
  private readonly server: Server;
  private readonly connected: Promise<Socket>;
  private seen = 0;
  over = false;

  private constructor(server: Server) {
    this.server = server;
    this.connected = new Promise((done) => {
      server.on("connection", (socket) => {
        let rest = "";
        this.socket = socket;
        socket.on("data", (data) => {
          const parts = (rest + data.toString("latin1")).split("\n");
          rest = parts.pop() ?? "";
          this.lines.push(...parts);
        });
        socket.on("error", () => {});
        socket.on("close", () => {
          this.over = true;
        });
        done(socket);
      });
    });
  }

  static async listen(runDir: string): Promise<Launcher> {
    const server = createServer();
    const launcher = new Launcher(server);
    await new Promise<void>((done) => server.listen(join(runDir, "ctl"), done));
    Launcher.open.add(launcher);
    return launcher;
  }

  async say(...lines: string[]): Promise<void> {
    (await this.connected).write(lines.map((line) => `${line}\n`).join(""));
  }

  /** The next line, not seen yet, that matches; lines before it are passed over. */
  async hears(expected: RegExp): Promise<RegExpMatchArray> {
    let found: RegExpMatchArray | null = null;
    await until(
      () =>
        `${String(expected)} from init, which said ${JSON.stringify(this.lines.map((line) => line.slice(0, 60))).slice(-4000)}`,
      () => {
        while (!found && this.seen < this.lines.length) found = (this.lines[this.seen++] ?? "").match(expected);
        return found !== null;
      },
    );
    return found as unknown as RegExpMatchArray;
  }

  async stopReading(): Promise<void> {
    (await this.connected).pause();
  }

  close(): void {
    this.socket?.destroy();
    this.server.close();
    Launcher.open.delete(this);
  }
}
