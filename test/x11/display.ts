import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { asUserArgv, environmentOf, eventually, run, USER } from "../job/harness.ts";

/** What stands in the head of an X window dump (XWDFile.h), as numbers of four bytes, the high one first. */
const HEAD = { size: 0, bytesPerLine: 12, colours: 19 } as const;
const COLOUR_BYTES = 12;
const PIXEL_BYTES = 4;

/**
 * A display in memory (Xvfb), the test user's, which knows its clients by a cookie. What is on it is read out of the
 * screen's own memory, which the server keeps in a file.
 */
export class Display {
  /** What a client of the display needs in its environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly #directory: string;
  readonly #server: ReturnType<typeof spawn>;
  readonly #ended: Promise<void>;

  readonly number: number;
  /** In hexadecimal. */
  readonly cookie: string;

  private constructor(
    directory: string,
    cookie: string,
    running: { readonly number: number; readonly server: ReturnType<typeof spawn> },
  ) {
    const { number, server } = running;
    this.env = { DISPLAY: `:${number}`, XAUTHORITY: join(directory, "authority") };
    this.#directory = directory;
    this.number = number;
    this.cookie = cookie;
    this.#server = server;
    this.#ended = new Promise((done) => server.once("close", () => done()));
  }

  static async start(): Promise<Display> {
    makeSocketDirectory();
    const directory = mkdtempSync("/tmp/gangway-display-");
    chownSync(directory, USER.uid, USER.gid);
    const cookie = randomBytes(16).toString("hex");
    const authority = join(directory, "servers-authority");
    await addEntry(authority, ":0", cookie);
    // It stays as it is when its last client leaves: else it forgets the cookies that were made for untrusted clients.
    const options = ["-noreset", "-listen", "tcp", "-fbdir", directory, "-auth", authority];
    const argv = ["Xvfb", "-displayfd", "3", "-screen", "0", "640x480x24", ...options];
    const [program = "", ...words] = asUserArgv(USER, argv);
    const server = spawn(program, words, { env: environmentOf({}), stdio: ["ignore", "ignore", "ignore", "pipe"] });
    let said = "";
    server.stdio[3]?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually("the X server says its number", 30, () => said.endsWith("\n"));
    const display = new Display(directory, cookie, { number: Number(said), server });
    await addEntry(display.env.XAUTHORITY ?? "", `unix:${display.number}`, cookie);
    return display;
  }

  /** The same display by another name of this host; its authority file has that name's entry, as the program xauth writes it. */
  async byName(host: string): Promise<Readonly<Record<string, string>>> {
    const XAUTHORITY = join(this.#directory, `authority-of-${host}`);
    await addEntry(XAUTHORITY, `${host}:${this.number}`, this.cookie);
    return { DISPLAY: `${host}:${this.number}`, XAUTHORITY };
  }

  /** The colour of a pixel of the screen, as RRGGBB. */
  pixel(x: number, y: number): string {
    const dump = readFileSync(join(this.#directory, "Xvfb_screen0"));
    const head = (index: number) => dump.readUInt32BE(4 * index);
    const pixels = head(HEAD.size) + head(HEAD.colours) * COLOUR_BYTES;
    const colour = dump.readUInt32LE(pixels + y * head(HEAD.bytesPerLine) + x * PIXEL_BYTES);
    return (colour & 0xff_ff_ff).toString(16).padStart(6, "0");
  }

  async close(): Promise<void> {
    this.#server.kill("SIGTERM");
    await this.#ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Where X servers have their sockets. An ordinary user's would make it that user's, and the next one complains. */
function makeSocketDirectory(): void {
  try {
    mkdirSync("/tmp/.X11-unix");
    chmodSync("/tmp/.X11-unix", 0o1777);
  } catch (error) {
    if (!existsSync("/tmp/.X11-unix")) throw error;
  }
}

async function addEntry(file: string, display: string, cookie: string): Promise<void> {
  const { code, stderr } = await run(["xauth", "-q", "-f", file, "add", display, ".", cookie]);
  if (code !== 0) throw new Error(`xauth: ${stderr}`);
}

const root = resolve(import.meta.dirname, "../..");

/** Compiles painter.c. @returns its path, where every account can read it: the container's user does */
export function buildPainter(directory: string): string {
  const target = join(directory, "painter");
  mkdirSync(directory, { recursive: true });
  const flags = ["-static", "-Os", "-std=gnu11", "-Wall", "-Wextra", "-Werror"];
  execFileSync("musl-gcc", [...flags, "-o", target, join(root, "test/x11/painter.c")]);
  return target;
}
