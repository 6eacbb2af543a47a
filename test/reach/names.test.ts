import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IMAGES, type RunResult, USER } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { inPart } from "../whole.ts";
import { Client, OURS, type Programs, quoted, SOCKET, STOCK, startJob, TCP, type Way } from "./client.ts";

/*
 * What a shell, a file transfer or a configuration could read as something else than a name. Each is a command's
 * argument and a file's name on either side, and arrives as it is.
 */
const NAMES: readonly string[] = [
  ...["two words", "two  blanks   and three", " first", "last ", "tab\there", "line\nbreak", "\n", "two\n\nlines\n"],
  ...["it's", 'a "quoted" one', "`id`", "$HOME", "$(id)", `\${PATH}`, "$'x'", "back\\slash", "last\\", "\\n"],
  ...[
    "*",
    "?",
    "[a-z]*",
    "{a,b}",
    "~",
    "~root",
    "!!",
    "!1",
    "#x",
    "%h%%",
    "a;b&c|d<e>f(g)",
    "x=y",
    "^a^b",
    "...",
    "@x",
  ],
  ...["-rf", "--help", "--", "-e", "-oProxyCommand=id", "a:b", "[::1]:x", "user@host:x"],
  ...["Grüße, 東京", "🚢", "e\u0301", "\u202Ecod", "\u001B[31m"],
];

/** What no tool's way of writing commands can say: a batch of sftp's is lines. */
const ONE_LINE = NAMES.filter((name) => !name.includes("\n"));

const NO_PATTERN = NAMES.filter((name) => !/[*?[]/.test(name));

/** A file's content tells which it is. */
function content(name: string): string {
  return `this is ${JSON.stringify(name)}`;
}

function filesOf(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, content(name)]));
}

/** A name that is looked for as a pattern (in remote sources of scp and sftp): every character is itself. */
function literally(name: string): string {
  return name.replaceAll(/[\\*?[\]{}]/g, "\\$&");
}

/** `~` at the start is the home, in sftp's protocol and in rsync's: whoever means the file writes it so. */
function relative(name: string): string {
  return name.startsWith("~") ? `./${name}` : name;
}

/** In the server's shell. scp writes `--` only before a name that it can see to begin with `-`. */
function inShell(name: string): string {
  return quoted(name.startsWith("-") ? `./${name}` : relative(name));
}

/** For rsync, which takes a backslash for one, but where something after it would be a pattern. */
function inPattern(name: string): string {
  return relative(name).replaceAll(/[*?[\]]/g, "\\$&");
}

interface Copy {
  readonly program: "scp" | "rsync";
  readonly words: readonly string[];
  readonly names: readonly string[];
  /** How the name is written behind the host's, to be made, and to be found. */
  target(name: string): string;
  source(name: string): string;
}

/** sftp's own way of quoting. */
function inBatch(name: string): string {
  return `"${name.replaceAll(/[\\"]/g, "\\$&")}"`;
}

interface Place {
  readonly image: "bare" | "debian" | "scratch";
  readonly way: Way;
  readonly programs: Programs;
}

const PLACES: readonly Place[] = [
  { image: "bare", way: SOCKET, programs: STOCK },
  { image: "debian", way: SOCKET, programs: STOCK },
  { image: "scratch", way: SOCKET, programs: STOCK },
  { image: "debian", way: TCP, programs: OURS },
];

describe.each(inPart(PLACES, ({ image, way }) => image === "scratch" || way === TCP))(
  "$image image, by $way.name, $programs.name",
  ({ image, way, programs }) => {
    let job: HeldJob;
    let client: Client;
    beforeAll(async () => {
      job = await startJob({ image: IMAGES[image] });
      client = new Client(job, way, programs);
      const { uid, gid } = USER;
      for (const name of ["from", "to"]) mkdirSync(client.path(name));
      for (const name of NAMES) writeFileSync(client.path(join("from", name)), content(name));
      await chownAll(client.path("from"), uid, gid);
      await chownAll(client.path("to"), uid, gid);
      await client.openMaster();
    });
    afterAll(async () => {
      await client.closeMaster();
      client.close();
      expect(await job.end()).toBe(0);
    });

    /** The files of the session's directory, which is emptied then. */
    async function takeRemote(): Promise<Record<string, string>> {
      const one = `[ ! -e "$f" ] || { printf '%s\\0' "$f"; cat -- "$f"; printf '\\0'; rm -f -- "$f"; }`;
      const { stdout } = await client.sh(`for f in * .[!.]* ..?*; do ${one}; done`);
      const parts = stdout.split("\0").slice(0, -1);
      return Object.fromEntries(parts.flatMap((name, at) => (at % 2 === 0 ? [[name, parts[at + 1] ?? ""]] : [])));
    }

    /** The same of the directory on this side. */
    function takeLocal(): Record<string, string> {
      const directory = client.path("to");
      const names = readdirSync(directory);
      const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), "utf8")]));
      for (const name of names) rmSync(join(directory, name));
      return files;
    }

    /** Puts every name there, as whatever the session's shell can be told. */
    async function putRemote(names: readonly string[]): Promise<void> {
      const made = names.map((name) => `printf %s ${quoted(content(name))} >${quoted(`./${name}`)}`);
      expect(await client.sh(made.join("; "))).toMatchObject({ code: 0, stderr: "" });
    }

    it("arguments of a command", async () => {
      const probe = image === "scratch" ? "/probe" : "probe";
      const words = ["", ...NAMES];
      const result = await client.sh([probe, "args", ...words.map(quoted)].join(" "));
      expect(result).toMatchObject({ code: 0, stderr: "", stdout: words.map((word) => `${word}\0`).join("") });
    });

    it("a command line: blanks and line breaks in it are the shell's to read", async () => {
      const lines = "printf '%s|'  a   b\nprintf '%s|' 'c  d'\\\n'  e' \"$(printf 'f\n\ng')\"";
      expect(await client.sh(lines)).toMatchObject({ code: 0, stderr: "", stdout: "a|b|c  d  e|f\n\ng|" });
    });

    it("words given to ssh one by one are joined by one blank each, as everywhere", async () => {
      const result = await client.ssh([client.host(), "printf", "'%s|'", "'a  b'", "", "c"]);
      expect(result).toMatchObject({ code: 0, stdout: "a  b|c|" });
    });

    /** Copies each of the files alone; what any of the copies said, by name. */
    async function each(names: readonly string[], copy: (name: string) => Promise<RunResult>): Promise<unknown> {
      const said: Record<string, string> = {};
      const waiting = [...names];
      const worker = async () => {
        for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
          const { code, stdout, stderr } = await copy(name);
          if (code !== 0 || stdout !== "" || stderr !== "") said[name] = `${code} ${stdout}${stderr}`;
        }
      };
      await Promise.all([worker(), worker(), worker()]);
      return said;
    }

    const COPIES: readonly Copy[] = [
      { program: "scp", words: [], names: NAMES, target: relative, source: (name) => literally(relative(name)) },
      // The old protocol: here the server's shell reads the names, and is quoted for. -T: what comes is not held against that.
      { program: "scp", words: ["-O", "-T"], names: NAMES, target: inShell, source: inShell },
      // With -s a target that is a pattern stands for what it fits, and if for nothing, for itself: nobody can quote it.
      { program: "rsync", words: ["-s"], names: NO_PATTERN, target: relative, source: relative },
      // Without -s rsync quotes for the server's shell, but for patterns. A line break it writes as a continued line, which is none.
      { program: "rsync", words: [], names: ONE_LINE, target: inPattern, source: inPattern },
    ];

    it.each(COPIES)("$program $words: target, then source", async ({ program, words, names, target, source }) => {
      const up = (name: string) => [...words, "--", join("from", name), `${client.host()}:${target(name)}`];
      const down = (name: string) => [...words, "--", `${client.host()}:${source(name)}`, join("to", `of ${name}`)];
      expect.soft(await each(names, (name) => client[program](up(name)))).toEqual({});
      expect.soft(await takeRemote()).toEqual(filesOf(names));
      await putRemote(names);
      expect.soft(await each(names, (name) => client[program](down(name)))).toEqual({});
      await takeRemote();
      const files = takeLocal();
      expect.soft(files).toEqual(Object.fromEntries(names.map((name) => [`of ${name}`, content(name)])));
    });

    it("a directory with all of them, by rsync -a and by scp -r, there and back", async () => {
      const back = () => {
        const files = readdirSync(client.path("to/from"));
        rmSync(client.path("to/from"), { recursive: true });
        return files.sort();
      };
      expect(await client.rsync(["-a", "from", `${client.host()}:`])).toMatchObject({ code: 0, stderr: "" });
      expect(await client.rsync(["-a", `${client.host()}:from`, "to"])).toMatchObject({ code: 0, stderr: "" });
      expect(back()).toEqual([...NAMES].sort());
      await client.sh("rm -rf from");
      expect(await client.scp(["-r", "from", `${client.host()}:`])).toMatchObject({ code: 0, stderr: "" });
      expect(await client.scp(["-r", `${client.host()}:from`, "to"])).toMatchObject({ code: 0, stderr: "" });
      expect(back()).toEqual([...NAMES].sort());
      await client.sh("rm -rf from");
    });

    it("rsync: a target and a source that are patterns stand for the one file that they fit", async () => {
      await putRemote(["pattern-1"]);
      const there = `${client.host()}:pattern?1`;
      for (const words of [[], ["-s"]]) {
        expect.soft(await client.rsync([...words, "from/x=y", there])).toMatchObject({ code: 0, stderr: "" });
        expect.soft(await client.rsync([...words, there, "to/x"])).toMatchObject({ code: 0, stderr: "" });
        expect.soft(takeLocal()).toEqual({ x: content("x=y") });
      }
      expect.soft(await takeRemote()).toEqual({ "pattern-1": content("x=y") });
    });

    it("rsync: of a file that has changed in part, only that part goes over the line", async () => {
      const old = "a line that stays\n".repeat(20_000);
      writeFileSync(client.path("from/changed"), `${old}a new line\n`);
      await client.sh("cat > changed", { input: old });
      const { code, stdout, stderr } = await client.rsync(["--stats", "from/changed", `${client.host()}:`]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(Number(/Literal data: ([\d,]+)/.exec(stdout)?.[1]?.replaceAll(",", ""))).toBeLessThan(5000);
      expect((await client.sh("cat changed; rm changed")).stdout).toBe(`${old}a new line\n`);
      rmSync(client.path("from/changed"));
    });

    it("sftp's batch: put and get", async () => {
      // Its commands have options, and no way to say where they end.
      const path = (name: string) => inBatch(name.startsWith("-") ? `./${name}` : relative(name));
      const puts = ONE_LINE.map((name) => `put ${inBatch(join("from", name))} ${path(name)}`);
      expect.soft(await client.sftp(`${puts.join("\n")}\n`)).toMatchObject({ code: 0, stderr: "" });
      const gets = ONE_LINE.map((name) => `get ${path(name)} ${inBatch(join("to", name))}`);
      expect.soft(await client.sftp(`${gets.join("\n")}\n`)).toMatchObject({ code: 0, stderr: "" });
      expect.soft(takeLocal()).toEqual(filesOf(ONE_LINE));
      expect.soft(await takeRemote()).toEqual(filesOf(ONE_LINE));
    });
  },
);

async function chownAll(path: string, uid: number, gid: number): Promise<void> {
  const { chown } = await import("node:fs/promises");
  await chown(path, uid, gid);
  await Promise.all(readdirSync(path).map((name) => chown(join(path, name), uid, gid)));
}
