// Where the connector goes when the node's socket is not on this host, and what it says on a host without the job's key.
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, makeDirectory, Started } from "./helpers.ts";

const { connector, hastyConnector, passing } = buildAll();
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await cleanUp();
});

async function serve(
  each: (socket: Socket) => void,
  place: { path: string } | { host: string; port: 0 },
): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, each);
  servers.push(server);
  await new Promise<void>((done) => server.listen(place, done));
  const address = server.address();
  return typeof address === "object" && address !== null ? String(address.port) : "";
}

const answer = (word: string) => (socket: Socket) => {
  socket.on("error", () => {});
  socket.end(`${word}\n`);
};

/** A port of this host that nobody listens on. */
async function closedPort(): Promise<string> {
  const port = await serve(answer("nobody"), { host: "127.0.0.1", port: 0 });
  await new Promise((done) => servers.pop()?.close(done));
  return port;
}

async function run(program: string, ...words: string[]) {
  const started = new Started(program, words);
  started.process.stdin?.end("word\n");
  return { code: await started.ended, out: started.out(), err: started.err() };
}

describe("the connector with an address", () => {
  const both = [
    ["handing the descriptor over", (...words: string[]) => run(passing, connector, ...words)],
    ["copying", (...words: string[]) => run(connector, "--stdio", ...words)],
  ] as const;

  it.each(both)("prefers the socket, %s", async (_, reach) => {
    const path = join(makeDirectory(), "ssh");
    await serve(answer("by the socket"), { path });
    const port = await serve(answer("by TCP"), { host: "127.0.0.1", port: 0 });
    expect(await reach(path, "127.0.0.1", port)).toMatchObject({ code: 0, out: "by the socket\n" });
  });

  it.each(both)("goes by TCP where no socket is, or nobody listens on it, %s", async (_, reach) => {
    const place = makeDirectory();
    writeFileSync(join(place, "file"), "");
    const four = await serve((socket) => socket.pipe(socket), { host: "127.0.0.1", port: 0 });
    const six = await serve((socket) => socket.pipe(socket), { host: "::1", port: 0 });
    for (const name of ["none", "file", "file/below", "no/directory"]) {
      expect(await reach(join(place, name), "127.0.0.1", four), name).toMatchObject({ code: 0, out: "word\n" });
      expect(await reach(join(place, name), "::1", six), name).toMatchObject({ code: 0, out: "word\n" });
    }
  });

  it("loses nothing of what it copies by TCP", async () => {
    const port = await serve((socket) => socket.pipe(socket), { host: "127.0.0.1", port: 0 });
    const data = randomBytes(8 * 1024 * 1024 + 13);
    const started = new Started(connector, ["--stdio", "/nonexistent/ssh", "127.0.0.1", port]);
    started.process.stdin?.end(data);
    expect(await started.ended).toBe(0);
    const sum = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    expect(sum(started.stdout)).toBe(sum(data));
  });

  it("hands over a connection that waits for nothing to be put together, and blocks as ssh's own", async () => {
    const port = await serve((socket) => socket.pipe(socket), { host: "127.0.0.1", port: 0 });
    const script = `import socket,subprocess,sys,fcntl,os
ours,theirs=socket.socketpair()
subprocess.Popen(sys.argv[1:],stdout=theirs,stdin=theirs).wait()
_,[fd],_,_=socket.recv_fds(ours,1,1)
got=socket.socket(fileno=fd)
print(got.getpeername(), got.getsockopt(socket.IPPROTO_TCP,socket.TCP_NODELAY), fcntl.fcntl(fd,fcntl.F_GETFL)&os.O_NONBLOCK)`;
    const words = ["-c", script, connector, "/nonexistent/ssh", "127.0.0.1", port];
    expect(execFileSync("python3", words, { encoding: "utf8" })).toBe(`('127.0.0.1', ${port}) 1 0\n`);
  });

  it("says of both ways why they did not lead there", async () => {
    const port = await closedPort();
    for (const words of [["--stdio"], []]) {
      const { code, out, err } = await run(connector, ...words, "/nonexistent/ssh", "127.0.0.1", port);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toBe(
        `connector: cannot reach the job's container at 127.0.0.1 port ${port}: Connection refused; nor at /nonexistent/ssh: No such file or directory (has the job ended?)\n`,
      );
    }
  });

  it("does not wait for ever for a host that does not answer", async () => {
    // With its queue full a listener drops what comes (tcp(7)), as a firewall does.
    const full = `import socket,time
s=socket.socket(); s.bind(("127.0.0.1",0)); s.listen(0); port=s.getsockname()[1]
waiting=[socket.socket() for _ in range(8)]
for c in waiting: c.setblocking(False); c.connect_ex(("127.0.0.1",port))
print(port, flush=True); time.sleep(1000)`;
    const server = new Started("python3", ["-c", full]);
    await server.says("\n");
    const { code, err } = await run(hastyConnector, "/nonexistent/ssh", "127.0.0.1", server.out().trim());
    expect(code).toBe(1);
    expect(err).toMatch(
      /^connector: cannot reach the job's container at 127\.0\.0\.1 port \d+: Operation timed out; nor at/,
    );
  });

  it.each([
    [["/s", "127.0.0.1"]],
    [["/s", "127.0.0.1", "0"]],
    [["/s", "127.0.0.1", "65536"]],
    [["/s", "127.0.0.1", "22", "more"]],
    [["/s", "localhost", "22"]],
    [["/s", "127.1", "22"]],
    [["/s", "fe80::1%lo", "22"]],
    [["/s", "", "22"]],
    [["", "127.0.0.1", "22"]],
    [["--owner"]],
    [["--kit", "/file", "/s"]],
    [["--kit", "/file"]],
    [["--other", "/s"]],
  ])("takes %j for wrong usage", async (words) => {
    const { code, out, err } = await run(connector, ...words);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^connector: usage: connector \[--owner UID\].*\n$/);
  });
});

describe("connector --kit FILE HOST", () => {
  it("connects where the key is", async () => {
    const place = makeDirectory();
    writeFileSync(join(place, "key"), "");
    await serve((socket) => socket.pipe(socket), { path: join(place, "ssh") });
    const words = ["--kit", join(place, "key"), "n1", join(place, "ssh")];
    expect(await run(passing, connector, ...words)).toMatchObject({ code: 0, out: "word\n" });
  });

  it("says where the job is on a host that does not have its key, and connects to nothing", async () => {
    const place = makeDirectory();
    let connections = 0;
    const port = await serve(() => connections++, { host: "127.0.0.1", port: 0 });
    const { code, out, err } = await run(
      connector,
      "--kit",
      join(place, "key"),
      "n1",
      join(place, "s"),
      "127.0.0.1",
      port,
    );
    expect({ code, out, connections }).toEqual({ code: 1, out: "", connections: 0 });
    expect(err).toBe(
      "gangway: this host has no key for the job (it runs on n1); use gangway ssh, or log in to one of its hosts\n",
    );
  });
});
