// The watchdog against an engine of ours on a unix socket: what matters is what is left behind.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createConnectionServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, isAlive, makeDirectory, Started, until } from "./helpers.ts";

const { watchdog, briskWatchdog, hastyWatchdog } = buildAll();
const engines: Engine[] = [];
const servers: { close(): unknown }[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  for (const engine of engines.splice(0)) engine.stop();
  await cleanUp();
});

type Answer = (name: string, time: number) => number;

class Engine {
  readonly containers = new Set<string>();
  readonly asked: string[] = [];
  readonly socket: string;
  answer: Answer | undefined;
  private server: Server | undefined;

  constructor(socket: string) {
    this.socket = socket;
    engines.push(this);
  }

  async start(): Promise<this> {
    this.server = createServer((request, response) => {
      const line = `${request.method} ${request.url}`;
      this.asked.push(line);
      const name = /^DELETE \/containers\/([a-zA-Z0-9_.-]+)\?force=1&v=1$/.exec(line)?.[1];
      if (name === undefined) {
        response.writeHead(400).end();
        return;
      }
      const status = this.answer?.(name, this.asked.length) ?? (this.containers.delete(name) ? 204 : 404);
      response.writeHead(status).end(status === 204 ? undefined : "{}");
    });
    const server = this.server;
    await new Promise<void>((done) => server.listen(this.socket, done));
    return this;
  }

  stop(): void {
    this.server?.closeAllConnections();
    this.server?.close();
  }
}

async function engine(...containers: string[]): Promise<Engine> {
  const one = await new Engine(join(makeDirectory(), "engine.sock")).start();
  for (const name of containers) one.containers.add(name);
  return one;
}

function jobDirectory(): string {
  const place = join(makeDirectory(), "job");
  mkdirSync(join(place, "0"), { recursive: true });
  writeFileSync(join(place, "0", "id_ed25519"), "secret", { mode: 0o600 });
  return place;
}

const watch = (socket: string, directory: string, names: string[], more: string[] = [], program = briskWatchdog) =>
  new Started(program, ["--socket", socket, "--job-dir", directory, ...more, ...names]);

describe("the watchdog", () => {
  it("does nothing when the launcher says goodbye", async () => {
    const docker = await engine("one");
    const directory = jobDirectory();
    const started = watch(docker.socket, directory, ["one"]);
    started.process.stdin?.end("k");
    expect(await started.ended).toBe(0);
    expect(docker.asked).toEqual([]);
    expect(existsSync(join(directory, "0", "id_ed25519"))).toBe(true);
  });

  it.each(["", "x", "kx", "hello k "])("removes directory and containers when the pipe ends after %j", async (said) => {
    const docker = await engine("one", "two", "stranger");
    const directory = jobDirectory();
    const started = watch(docker.socket, directory, ["one", "two"], [], watchdog);
    started.process.stdin?.end(said);
    expect(await started.ended).toBe(0);
    expect([...docker.containers]).toEqual(["stranger"]);
    expect(existsSync(directory)).toBe(false);
    expect(docker.asked).toHaveLength(14);
  });

  it("without a name removes the directory, and asks nobody", async () => {
    const directory = jobDirectory();
    const started = watch("/nonexistent/engine", directory, [], [], watchdog);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    expect(existsSync(directory)).toBe(false);
  });

  it("waits for as long as the pipe is open", async () => {
    const docker = await engine("one");
    const started = watch(docker.socket, jobDirectory(), ["one"]);
    started.process.stdin?.write("k");
    await until("it waits", () => readlinkSync(`/proc/${started.pid}/cwd`) === "/");
    expect(docker.asked).toEqual([]);
    started.process.stdin?.end("k");
    expect(await started.ended).toBe(0);
    expect(docker.asked).toEqual([]);
  });

  it("asks until six rounds in a row find none: a container may come late", async () => {
    const docker = await engine();
    docker.answer = (_, time) => (time === 4 ? 204 : 404);
    const started = watch(docker.socket, jobDirectory(), ["late"]);
    started.process.stdin?.end();
    await started.ended;
    expect(docker.asked).toHaveLength(10);
  });

  it("asks again when a removal is in progress (409) or has failed (500)", async () => {
    const docker = await engine();
    const answers = [500, 409, 409, 204];
    docker.answer = (_, time) => answers[time - 1] ?? 404;
    const started = watch(docker.socket, jobDirectory(), ["one"]);
    started.process.stdin?.end();
    await started.ended;
    expect(docker.asked).toHaveLength(10);
  });

  it("asks for many containers", async () => {
    const names = Array.from({ length: 40 }, (_, index) => `gangway-1234_${index}.x`);
    const docker = await engine(...names);
    const started = watch(docker.socket, jobDirectory(), names);
    started.process.stdin?.end();
    await started.ended;
    expect(docker.containers.size).toBe(0);
  });

  it("waits for an engine that comes back late", async () => {
    const docker = new Engine(join(makeDirectory(), "engine.sock"));
    docker.containers.add("one");
    const directory = jobDirectory();
    const started = watch(docker.socket, directory, ["one"]);
    started.process.stdin?.end();
    await until("the directory is gone", () => !existsSync(directory));
    await new Promise((done) => setTimeout(done, 500));
    await docker.start();
    expect(await started.ended).toBe(0);
    expect(docker.containers.size).toBe(0);
  });

  it("gives up on an engine that does not come back, and on one that only fails", async () => {
    const nobody = watch("/nonexistent/engine.sock", jobDirectory(), ["one"], [], hastyWatchdog);
    nobody.process.stdin?.end();
    expect(await nobody.ended).toBe(0);
    const docker = await engine("one");
    docker.answer = () => 500;
    const failing = watch(docker.socket, jobDirectory(), ["one"], [], hastyWatchdog);
    failing.process.stdin?.end();
    expect(await failing.ended).toBe(0);
    expect(docker.asked.length).toBeGreaterThan(2);
  });

  it("reaches an engine's socket at the end of a long path", async () => {
    const place = join(makeDirectory(), "x".repeat(100));
    mkdirSync(place);
    const here = process.cwd();
    process.chdir(place);
    const docker = await new Engine("e.sock").start();
    process.chdir(here);
    docker.containers.add("one");
    const started = watch(join(place, "e.sock"), jobDirectory(), ["one"]);
    started.process.stdin?.end();
    await started.ended;
    expect(docker.containers.size).toBe(0);
  });

  it("removes a directory that appears late", async () => {
    const docker = await engine();
    const directory = join(makeDirectory(), "late");
    docker.answer = (_, time) => {
      if (time === 5) mkdirSync(join(directory, "0"), { recursive: true });
      return 404;
    };
    const started = watch(docker.socket, directory, ["one"]);
    started.process.stdin?.end();
    await started.ended;
    expect(existsSync(directory)).toBe(false);
  });
});

describe("the removal of the directory", () => {
  async function remove(directory: string, more: string[] = []): Promise<void> {
    const docker = await engine();
    const started = watch(docker.socket, directory, [], more);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
  }

  it("follows no link", async () => {
    const directory = jobDirectory();
    const treasure = makeDirectory();
    writeFileSync(join(treasure, "file"), "untouched");
    symlinkSync(treasure, join(directory, "link"));
    symlinkSync(treasure, join(directory, "0", "link"));
    symlinkSync(join(treasure, "file"), join(directory, "0", "to-file"));
    await remove(directory);
    expect(existsSync(directory)).toBe(false);
    expect(readFileSync(join(treasure, "file"), "utf8")).toBe("untouched");
    symlinkSync(treasure, directory);
    await remove(directory);
    expect(readdirSync(treasure)).toEqual(["file"]);
    expect(existsSync(directory)).toBe(false);
  });

  it("copes with depth, numbers, odd names, forbidden directories and the names it uses itself", async () => {
    const directory = jobDirectory();
    const deep = new Started("sh", ["-c", `cd ${directory}; for i in $(seq 1500); do mkdir d; cd ./d; done; echo > f`]);
    expect(await deep.ended).toBe(0);
    for (let index = 0; index < 2000; index++) writeFileSync(join(directory, "0", `file ${index}\n*`), "");
    mkdirSync(join(directory, ".gone-0", "x", "y"), { recursive: true });
    mkdirSync(join(directory, ".gone-3"));
    writeFileSync(join(directory, ".gone-3", "x"), "");
    mkdirSync(join(directory, "closed", "inner", "most"), { recursive: true });
    chownTree(directory, 12345);
    chmodSync(join(directory, "closed", "inner"), 0);
    chmodSync(join(directory, "closed"), 0);
    chmodSync(join(directory, ".."), 0o777);
    await remove(directory, ["--uid", "12345", "--gid", "12345"]);
    expect(existsSync(directory)).toBe(false);
  });

  it("is done as the job's user: what is not theirs stays", async () => {
    const directory = jobDirectory();
    chmodSync(join(directory, ".."), 0o777);
    chownTree(directory, 12345);
    mkdirSync(join(directory, "roots"), { mode: 0o755 });
    writeFileSync(join(directory, "roots", "file"), "root's");
    await remove(directory, ["--uid", "12345", "--gid", "12345"]);
    expect(readFileSync(join(directory, "roots", "file"), "utf8")).toBe("root's");
    expect(readdirSync(directory).filter((name) => name === "0")).toEqual([]);
  });
});

function chownTree(path: string, id: number): void {
  execFileSync("chown", ["-hR", `${id}:${id}`, path]);
}

describe("with --launcher", () => {
  const mine = "4711:123@0a1b-2c:node.example";

  /** An engine that describes its containers, by name or id, each with a label as it would be written. */
  async function describing(labels: Record<string, string>, body?: (json: string) => string) {
    const left = new Set(Object.keys(labels));
    const asked: string[] = [];
    const idOf = (name: string) => createHash("sha256").update(name).digest("hex");
    const socket = join(makeDirectory(), "engine.sock");
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const [, which] = /^\/containers\/([^/?]+)/.exec(request.url ?? "") ?? [];
      const name = [...left].find((one) => one === which || idOf(one) === which);
      if (name === undefined) {
        response.writeHead(404).end("{}");
      } else if (request.method === "GET") {
        const json = `{"Id":"${idOf(name)}","Config":{"Env":["A=\\"gangway.launcher\\":\\"${mine}\\""],"Labels":{${labels[name]}}}}`;
        response.writeHead(200, { "content-type": "application/json" });
        response.end((body ?? ((text) => text))(json));
      } else {
        left.delete(name);
        response.writeHead(204).end();
      }
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen(socket, done));
    return { socket, left, asked, idOf };
  }

  async function clear(socket: string, names: string[], directory = jobDirectory(), more: string[] = []) {
    const started = watch(socket, directory, names, ["--launcher", mine, ...more]);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
  }

  it("removes the containers that bear its label, by their id, and no others", async () => {
    const docker = await describing({
      ours: `"a":"b","gangway.launcher":"${mine}"`,
      spaced: `"gangway.launcher" : "${mine}"`,
      successors: `"gangway.launcher":"4712:124@0a1b-2c:node.example"`,
      longer: `"gangway.launcher":"${mine}x"`,
      shorter: `"gangway.launcher":"${mine.slice(0, -1)}"`,
      empty: `"gangway.launcher":""`,
      none: "",
      other: `"xgangway.launcher":"${mine}","gangway.launcher.x":"${mine}"`,
      escaped: `"gangway.launcher":"${mine}\\""`,
      number: `"gangway.launcher":5`,
      value: `"x":"gangway.launcher","y":"${mine}"`,
    });
    const names = [...docker.left];
    await clear(docker.socket, names);
    expect([...docker.left]).toEqual(names.slice(2));
    expect(docker.asked.filter((line) => line.startsWith("DELETE")).sort()).toEqual(
      ["ours", "spaced"].map((name) => `DELETE /containers/${docker.idOf(name)}?force=1&v=1`).sort(),
    );
  });

  it("understands a description that is long, and leaves one alone that is cut off", async () => {
    const long = await describing({ ours: `"pad":"${"x".repeat(500_000)}","gangway.launcher":"${mine}"` });
    await clear(long.socket, ["ours"]);
    expect(long.left.size).toBe(0);
    const cut = await describing({ ours: `"gangway.launcher":"${mine}"` }, (json) => json.slice(0, -3));
    const started = watch(cut.socket, jobDirectory(), ["ours"], ["--launcher", mine], hastyWatchdog);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    expect(cut.left.size).toBe(1);
  });

  it.each([1, 2, 7, 100_000])("understands an engine that answers in chunks of %i bytes all the same", async (size) => {
    const json = `{"Labels":{"gangway.launcher":"${mine}"}}`;
    let deleted = 0;
    const socket = join(makeDirectory(), "engine.sock");
    const server = createConnectionServer((connection) => {
      connection.on("error", () => {});
      connection.once("data", (data) => {
        const head = (status: string) => `HTTP/1.1 ${status}\r\nTransfer-Encoding: chunked\r\n\r\n`;
        if (data.toString().startsWith("DELETE")) {
          deleted++;
          connection.end(`${head("204 No Content")}`);
        } else if (deleted) {
          connection.end(`${head("404 Not Found")}2\r\n{}\r\n0\r\n\r\n`);
        } else {
          const parts = json.match(new RegExp(`.{1,${size}}`, "g")) ?? [];
          const chunks = parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`);
          connection.end(`${head("200 OK")}${chunks.join("")}0\r\n\r\n`);
        }
      });
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen(socket, done));
    await clear(socket, ["ours"]);
    expect(deleted).toBe(1);
  });

  it.each([
    [mine, false],
    [`${mine}\n`, false],
    ["", false],
    [undefined, false],
    ["4712:124@0a1b-2c:node.example\n", true],
    [`${mine}x`, true],
  ])("removes the directory only when its file `launcher` does not name another: %j stays %s", async (text, stays) => {
    const docker = await describing({});
    const directory = jobDirectory();
    if (text !== undefined) writeFileSync(join(directory, "launcher"), text);
    await clear(docker.socket, [], directory);
    expect(existsSync(directory)).toBe(stays);
  });
});

describe("--also", () => {
  it("removes files as the job's user, once, follows no link and touches nothing but files", async () => {
    const docker = await engine();
    const place = makeDirectory();
    chmodSync(place, 0o755);
    const [theirs, roots, link, victim, directory] = ["theirs", "roots", "link", "victim", "directory"].map((name) =>
      name === "roots" ? join(makeDirectory(), name) : join(place, name),
    ) as [string, string, string, string, string];
    for (const path of [theirs, roots, victim]) writeFileSync(path, "");
    symlinkSync(victim, link);
    mkdirSync(directory);
    chownTree(place, 12345);
    docker.answer = (_, time) => {
      if (time === 2) writeFileSync(theirs, "the next launcher's");
      return 404;
    };
    const also = [theirs, roots, link, directory, join(place, "none")].flatMap((path) => ["--also", path]);
    const started = watch(docker.socket, "/nonexistent/job", ["one"], ["--uid", "12345", "--gid", "12345", ...also]);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    expect(readFileSync(theirs, "utf8")).toBe("the next launcher's");
    expect([roots, victim, directory].map((path) => existsSync(path))).toEqual([true, true, true]);
    expect(readdirSync(place).sort()).toEqual(["directory", "theirs", "victim"]);
  });
});

describe("its start", () => {
  it("lets go of everything of the launcher's and ignores every signal that can be ignored", async () => {
    const docker = await engine();
    const started = watch(docker.socket, "/nonexistent/job", ["one"]);
    await until("it has let go", () => readlinkSync(`/proc/${started.pid}/cwd`) === "/");
    const fds = readdirSync(`/proc/${started.pid}/fd`);
    expect(fds.sort()).toEqual(["0", "1", "2"]);
    expect(readlinkSync(`/proc/${started.pid}/fd/1`)).toBe("/dev/null");
    expect(readlinkSync(`/proc/${started.pid}/fd/2`)).toBe("/dev/null");
    const session = readFileSync(`/proc/${started.pid}/stat`, "utf8").split(") ")[1]?.split(" ")[3];
    expect(Number(session)).toBe(started.pid);
    for (let number = 1; number <= 64; number++) if (![9, 19].includes(number)) process.kill(started.pid, number);
    expect(isAlive(started.pid)).toBe(true);
    started.process.stdin?.end("k");
    expect(await started.ended).toBe(0);
  });

  const socket = ["--socket", "/x"];
  const directory = ["--job-dir", "/nonexistent/x"];
  it.each([
    [[], /--socket needs/],
    [[...socket], /--job-dir needs/],
    [[...socket, "--job-dir", "relative"], /--job-dir needs/],
    [[...socket, ...directory, "a/b"], /not a container's name: a\/b/],
    [[...socket, ...directory, ".."], /not a container's name/],
    [[...socket, ...directory, "a?b"], /not a container's name/],
    [[...socket, ...directory, "a b"], /not a container's name/],
    [[...socket, ...directory, ""], /not a container's name/],
    [[...socket, ...directory, "--uid", "5", "a"], /--uid and --gid go together/],
    [[...socket, ...directory, "--uid", "x", "a"], /not an id: x/],
    [[...socket, ...directory, "--nonsense", "5", "a"], /unknown option: --nonsense/],
    [[...socket, ...directory, "--launcher", 'a"b'], /not a launcher's name: a"b/],
    [[...socket, ...directory, "--launcher", ""], /not a launcher's name: /],
    [[...socket, ...directory, "--also", "relative"], /--also needs an absolute path: relative/],
    [
      [...socket, ...directory, ...Array.from({ length: 9 }, () => ["--also", "/nonexistent/f"]).flat()],
      /too many of --also/,
    ],
    [["--socket"], /unknown option, or one without its value: --socket/],
  ])("refuses a wrong command line, in words: %j", async (args, message) => {
    const started = new Started(watchdog, args);
    expect(await started.ended).toBe(2);
    expect(started.err()).toMatch(message);
  });

  it("refuses a stdin that is no pipe: its end would be there at once", async () => {
    const started = new Started(watchdog, [...socket, ...directory, "a"], { stdin: "ignore" });
    expect(await started.ended).toBe(2);
    expect(started.err()).toMatch(/stdin must be the launcher's pipe/);
  });
});
