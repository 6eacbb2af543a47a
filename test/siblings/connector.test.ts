// The connector hands a connected descriptor over; what is on the other side of it need not be ssh.
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, makeDirectory, Started, until } from "./helpers.ts";

const { connector, passing } = buildAll();
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await cleanUp();
});

async function echoAt(path: string): Promise<void> {
  const server = createServer((socket) => socket.pipe(socket));
  servers.push(server);
  const here = process.cwd();
  process.chdir(join(path, ".."));
  try {
    await new Promise<void>((done) => server.listen(path.slice(path.lastIndexOf("/") + 1), done));
  } finally {
    process.chdir(here);
  }
}

describe("the connector", () => {
  it.each([20, 107, 108, 109, 300, 3000])("reaches a socket whose path has %i bytes", async (length) => {
    let place = makeDirectory();
    while (place.length + 12 < length) {
      place = join(place, "d".repeat(Math.max(1, Math.min(200, length - place.length - 12))));
      mkdirSync(place);
    }
    const path = join(place, "s".repeat(Math.max(1, Math.min(100, length - place.length - 1))));
    if (length > 60) expect(path.length).toBe(length);
    await echoAt(path);
    const started = new Started(passing, [connector, path]);
    started.process.stdin?.end("through the descriptor\n");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("through the descriptor\n");
    expect(started.err()).toBe("connector ended with 0\n");
  });

  it("reaches a socket with a long name of its own", async () => {
    const path = join(makeDirectory(), "n".repeat(90));
    await echoAt(path);
    const started = new Started(passing, [connector, path]);
    started.process.stdin?.end("x\n");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("x\n");
  });

  it("says in one line what is wrong, and ends with 1", async () => {
    const place = makeDirectory();
    const cases: [string[], RegExp][] = [
      [
        [join(place, "none")],
        /cannot reach the job's container at \S+\/none: No such file or directory \(has the job ended\?\)/,
      ],
      [[join(place, "x".repeat(150))], /No such file or directory \(has the job ended\?\)/],
      [[], /usage: connector/],
      [[""], /usage: connector/],
      [["a", "b"], /usage: connector/],
      [["--stdio"], /usage: connector/],
      [["--stdio", ""], /usage: connector/],
      [["--stdio", join(place, "none")], /cannot reach the job's container at \S+\/none: No such file or directory/],
      [["/".repeat(5000)], /cannot reach/],
    ];
    for (const [args, message] of cases) {
      const started = new Started(connector, args);
      expect(await started.ended).toBe(1);
      expect(started.err()).toMatch(message);
      expect(started.err().split("\n")).toHaveLength(2);
      expect(started.out()).toBe("");
    }
  });

  it("says that ProxyUseFdpass is needed when its stdout is no socket", async () => {
    const path = join(makeDirectory(), "s");
    await echoAt(path);
    const started = new Started("sh", ["-c", `${connector} ${path} | cat; ${connector} ${path} >&-`]);
    await started.ended;
    expect(started.err().match(/ProxyUseFdpass yes is needed/g)).toHaveLength(2);
  });

  it("sends nothing to a socket on which somebody else listens", async () => {
    const path = join(makeDirectory(), "s");
    chmodSync(join(path, ".."), 0o777);
    const script = `require("net").createServer(s => s.on("error", () => {}).end("stolen")).listen(${JSON.stringify(path)}, () => console.log("ready"))`;
    const stranger = ["--reuid=12346", "--regid=12346", "--clear-groups", "--pdeathsig=KILL"];
    const listener = new Started("setpriv", [...stranger, process.execPath, "-e", script]);
    await until("the stranger listens", () => listener.out() === "ready\n");
    for (const program of [
      [passing, connector, path],
      [connector, "--stdio", path],
    ]) {
      const started = new Started(program[0] ?? "", program.slice(1));
      started.process.stdin?.end("secret\n");
      expect(await started.ended).toBe(1);
      expect(started.out()).toBe("");
      expect(started.err()).toMatch(
        /^connector: who listens at \S+ is not you \(uid 0\) but uid 12346: nothing is sent there$/m,
      );
    }
  });

  it("asks, for root, whether the job's user listens", async () => {
    const path = join(makeDirectory(), "s");
    chmodSync(join(path, ".."), 0o777);
    const script = `require("net").createServer(s => s.pipe(s)).listen(${JSON.stringify(path)}, () => console.log("ready"))`;
    const user = ["--reuid=12346", "--regid=12346", "--clear-groups", "--pdeathsig=KILL"];
    const listener = new Started("setpriv", [...user, process.execPath, "-e", script]);
    await until("the user listens", () => listener.out() === "ready\n");
    const enter = async (owner: string) => {
      const started = new Started(passing, [connector, "--owner", owner, path]);
      started.process.stdin?.end("word\n");
      return { code: await started.ended, out: started.out(), err: started.err() };
    };
    expect(await enter("12346")).toMatchObject({ code: 0, out: "word\n" });
    const other = await enter("12347");
    expect(other).toMatchObject({ code: 1, out: "" });
    expect(other.err).toMatch(/is not the job's user \(uid 12347\) but uid 12346: nothing is sent there$/m);
    for (const wrong of ["", "-1", "4294967295", "1x"]) expect((await enter(wrong)).err).toMatch(/^connector: usage/m);
  });

  it("is small", () => {
    expect(execFileSync("stat", ["-c", "%s", connector], { encoding: "utf8" }).trim()).toMatch(/^\d{5}$/);
  });
});

describe("connector --stdio", () => {
  /** A server that does what it is told with each connection, and lets it stay half open. */
  async function serve(each: (socket: Socket) => void, backlog?: number): Promise<string> {
    const path = join(makeDirectory(), "s");
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      each(socket);
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen({ path, ...(backlog !== undefined && { backlog }) }, done));
    return path;
  }

  const sum = (data: Buffer) => createHash("sha256").update(data).digest("hex");

  it.each([
    ["pipes", `cat | "$0" --stdio "$1" | cat`],
    ["files", `cat > "$1.in"; "$0" --stdio "$1" < "$1.in" > "$1.out"; cat "$1.out"`],
    ["a file that is appended to, which takes no splice(2)", `cat | "$0" --stdio "$1" >> "$1.out"; cat "$1.out"`],
    ["sockets", `exec "$0" --stdio "$1"`],
  ])("loses nothing, either way, by %s", async (_, script) => {
    const path = await serve((socket) => socket.pipe(socket));
    const data = randomBytes(8 * 1024 * 1024 + 13);
    const started = new Started("sh", ["-c", script, connector, path]);
    started.process.stdin?.end(data);
    expect(await started.ended).toBe(0);
    expect(started.err()).toBe("");
    expect(sum(started.stdout)).toBe(sum(data));
  });

  it("passes the end of its input on, and still brings what comes after", async () => {
    const path = await serve((socket) => {
      let text = "";
      socket.on("data", (data) => {
        text += data.toString();
      });
      socket.on("end", () => setTimeout(() => socket.end(`got ${text}`), 50));
    });
    const started = new Started(connector, ["--stdio", path]);
    started.process.stdin?.end("a question");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("got a question");
  });

  it("passes the end of the other side on, and still takes what comes after", async () => {
    let text = "";
    const path = await serve((socket) => {
      socket.end("banner");
      socket.on("data", (data) => {
        text += data.toString();
      });
    });
    const started = new Started(connector, ["--stdio", path]);
    const closed = new Promise((done) => started.process.stdout?.on("close", done));
    await closed;
    expect(started.out()).toBe("banner");
    started.process.stdin?.write("later, ");
    await until("it arrives", () => text === "later, ");
    started.process.stdin?.end("last");
    expect(await started.ended).toBe(0);
    await until("all has arrived", () => text === "later, last");
  });

  it("ends when the other side is gone, whatever its input may still say", async () => {
    const path = await serve((socket) => socket.end("bye", () => socket.destroy()));
    const started = new Started(connector, ["--stdio", path]);
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("bye");
  });

  it("ends without a word when nobody reads its output any more", async () => {
    for (const talkative of [true, false]) {
      const path = await serve((socket) => {
        socket.write("first\n");
        if (talkative) setInterval(() => socket.write("more\n"), 5).unref();
      });
      const script = `{ "$0" --stdio "$1"; echo $? >&2; } | head -1`;
      const started = new Started("bash", ["-c", script, connector, path]);
      await until("it has ended", () => /^1$/m.test(started.err()));
      await started.ended;
      expect(started.err(), "ssh's own end is nothing to complain of").toBe("1\n");
    }
  });

  it("ends when its input ends while the container takes no connection", async () => {
    const path = join(makeDirectory(), "s");
    const busy = `import socket,sys,time
s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(0); print("listening", flush=True); time.sleep(1000)`;
    const server = new Started("python3", ["-c", busy, path]);
    await server.says("listening");
    const first = new Started(connector, ["--stdio", path]);
    await until("the first is connected", () => readFileSync(`/proc/net/unix`, "utf8").split(path).length >= 3);
    const second = new Started(connector, ["--stdio", path]);
    second.process.stdin?.end();
    expect(await second.ended).toBe(1);
    expect(second.err()).toBe("connector: the input ended before the job's container was reached\n");
    first.process.kill("SIGKILL");
  });

  it("waits for a slow reader without keeping what comes", async () => {
    let sent = 0;
    const chunk = randomBytes(1024 * 1024);
    const path = await serve((socket) => {
      const more = () => {
        while (sent < 64) {
          sent++;
          if (!socket.write(chunk)) return;
        }
        socket.end();
      };
      socket.on("drain", more);
      more();
    });
    execFileSync("mkfifo", [`${path}.go`]);
    const started = new Started("sh", [
      "-c",
      `"$0" --stdio "$1" | { read go < "$2"; wc -c; }`,
      connector,
      path,
      `${path}.go`,
    ]);
    const process = () => execFileSync("pgrep", ["-f", `^${connector} --stdio ${path}$`], { encoding: "utf8" }).trim();
    await until("it copies", () => sent > 0);
    await new Promise((done) => setTimeout(done, 300));
    expect(sent).toBeLessThan(8);
    expect(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${process()}/status`, "utf8"))?.[1])).toBeLessThan(4096);
    execFileSync("sh", ["-c", `echo go > ${path}.go`]);
    started.process.stdin?.end();
    expect(await started.ended).toBe(0);
    expect(Number(started.out())).toBe(64 * 1024 * 1024);
  });
});
