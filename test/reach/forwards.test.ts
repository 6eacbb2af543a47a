import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, IMAGES, run, start } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { Client, OURS, quoted, SOCKET, STOCK, startJob, TCP } from "./client.ts";
import { answers, freePort, listenHere, talk } from "./sockets.ts";

/*
 * Every forwarding ends inside the container. A server of the job's listens where nothing else can: on the container's
 * loopback and on a unix socket in its memory. It says which host it is on.
 */
const SERVER = `
import os, socket, socketserver, sys
class Hello(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(("hello from " + socket.gethostname() + "\\n").encode())
        self.wfile.flush()
        for line in self.rfile:
            self.wfile.write(line.upper())
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
class Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 64
import threading
threading.Thread(target=Unix("/t/hello.sock", Hello).serve_forever, daemon=True).start()
threading.Thread(target=Tcp(("127.0.0.1", 4711), Hello).serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

/** Reads a line from a port or a unix socket, in the container. */
function heardThere(target: string): string {
  const connect = target.startsWith("/")
    ? `s = socket.socket(socket.AF_UNIX); s.connect(${JSON.stringify(target)})`
    : `s = socket.create_connection(("127.0.0.1", ${target}))`;
  return `python3 -c ${quoted(`import socket; ${connect}; print(s.makefile().readline(), end="")`)}`;
}

describe.each([
  { network: "bridge", way: SOCKET, programs: STOCK },
  { network: "none", way: SOCKET, programs: STOCK },
  { network: "bridge", way: TCP, programs: OURS },
])("network $network, by $way.name, $programs.name", ({ network, way, programs }) => {
  let job: HeldJob;
  let client: Client;
  const running: ReturnType<Client["start"]>[] = [];
  beforeAll(async () => {
    const command = ["python3", "-c", SERVER];
    const words = network === "none" ? ["--network", "none"] : [];
    job = await startJob({ image: IMAGES.debian, words, command });
    client = new Client(job, way, programs);
  });
  afterAll(async () => {
    for (const child of running) child.kill();
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** Starts a client that only forwards. */
  function forward(...words: readonly string[]): void {
    running.push(client.start(["-N", "-o", "ExitOnForwardFailure=yes", ...words, client.host()]));
  }

  const HELLO = "hello from node1\nAB\n";

  it("-L: a port here to a port there", async () => {
    const port = await freePort();
    forward("-L", `${port}:127.0.0.1:4711`);
    await eventually("it listens", 20, async () => await answers({ port }));
    expect(await talk({ port }, "ab\n")).toBe(HELLO);
    // Nobody on the host itself listens there.
    await expect(talk({ port: 4711 }, "")).rejects.toThrow("ECONNREFUSED");
  });

  it("-L: unix sockets, of either side and of both", async () => {
    const [port, path] = [await freePort(), client.path("local.sock")];
    forward("-L", `${path}:/t/hello.sock`, "-L", `${port}:/t/hello.sock`, "-L", `${path}.tcp:localhost:4711`);
    const targets = [{ path }, { port }, { path: `${path}.tcp` }];
    for (const target of targets) {
      await eventually("it listens", 20, async () => await answers(target));
      expect(await talk(target, "ab\n")).toBe(HELLO);
    }
  });

  it("-L: many connections at once through one", async () => {
    const port = await freePort();
    forward("-L", `${port}:127.0.0.1:4711`);
    await eventually("it listens", 20, async () => await answers({ port }));
    const heard = await Promise.all(Array.from({ length: 50 }, (_, n) => talk({ port }, `line ${n}\n`)));
    expect(heard).toEqual(heard.map((_, n) => `hello from node1\nLINE ${n}\n`));
  });

  it("-g: others than this host may come, too", async () => {
    const port = await freePort();
    forward("-g", "-L", `${port}:127.0.0.1:4711`);
    await eventually("it listens", 20, async () => await answers({ port }));
    expect((await run(["ss", "-Hltn", `sport = :${port}`])).stdout).toMatch(/(0\.0\.0\.0|\*):/);
    expect(await talk({ port, host: "127.0.0.2" }, "ab\n")).toBe(HELLO);
  });

  it("-R: a port there to a port here", async () => {
    const here = await freePort();
    const server = await listenHere(here);
    forward("-R", `4712:127.0.0.1:${here}`);
    await eventually("it listens", 20, async () => (await client.sh(heardThere("4712"))).code === 0);
    expect(await client.sh(heardThere("4712"))).toMatchObject({ stdout: "hello from here\n" });
    // The container's port, not the host's.
    await expect(talk({ port: 4712 }, "")).rejects.toThrow("ECONNREFUSED");
    server.close();
  });

  it("-R 0.0.0.0: on every address of the container", async () => {
    const here = await freePort();
    const server = await listenHere(here);
    forward("-R", `0.0.0.0:4713:127.0.0.1:${here}`, "-R", `4714:127.0.0.1:${here}`);
    await eventually("it listens", 20, async () => (await client.sh(heardThere("4714"))).code === 0);
    // Hexadecimal, as the kernel prints them: 4713 is 1269, 4714 is 126A; state 0A listens.
    const { stdout } = await client.sh("grep ' 0A ' /proc/net/tcp");
    expect(stdout).toContain(" 00000000:1269 ");
    expect(stdout).toContain(" 0100007F:126A ");
    server.close();
  });

  it("-R with a port of the server's choice, which the client is told", async () => {
    const here = await freePort();
    const server = await listenHere(here);
    const child = client.start(["-N", "-R", `0:127.0.0.1:${here}`, client.host()]);
    running.push(child);
    const told = await new Promise<string>((resolve) =>
      child.stderr.once("data", (piece: Buffer) => resolve(piece.toString())),
    );
    const port = /^Allocated port (\d+) for remote forward/.exec(told)?.[1] ?? "0";
    expect(await client.sh(heardThere(port))).toMatchObject({ stdout: "hello from here\n" });
    server.close();
  });

  it("-R: a unix socket there, and again where an old one lies", async () => {
    const path = client.path("here.sock");
    const server = await listenHere(path);
    await client.sh("touch /t/remote.sock");
    forward("-R", `/t/remote.sock:${path}`);
    const heard = async () => (await client.sh(heardThere("/t/remote.sock"))).stdout;
    await eventually("it listens", 20, async () => (await heard()) === "hello from here\n");
    server.close();
  });

  it("-D: a SOCKS proxy whose connections begin, and whose names are looked up, in the container", async () => {
    const port = await freePort();
    forward("-D", String(port));
    const get = (url: string) =>
      run(["curl", "-sS", "--http0.9", "-m", "1", "-x", `socks5h://127.0.0.1:${port}`, url], { cwd: "/tmp" });
    await eventually("it listens", 20, async () => (await get("http://127.0.0.1:4711/")).stdout !== "");
    // The server's first line; what curl makes of its silence afterwards is nothing of ours.
    expect((await get("http://localhost:4711/")).stdout).toMatch(/^hello from node1\n/);
  });

  it("-W: the streams are a connection made there", async () => {
    for (const target of ["127.0.0.1:4711", "localhost:4711"]) {
      const result = await client.ssh(["-W", target, client.host()], { input: "ab\n" });
      expect(result).toMatchObject({ code: 0, stdout: HELLO });
    }
  });

  it("a port on which nobody listens is said, and ends nothing else", async () => {
    const result = await client.ssh(["-W", "127.0.0.1:4999", client.host()]);
    expect(result).toMatchObject({ code: 255, stderr: expect.stringContaining("Connection refused") as string });
  });

  it("forwardings asked of a control master, given and taken back", async () => {
    const master = new Client(job, way, programs);
    await master.openMaster();
    const port = await freePort();
    const spec = `${port}:127.0.0.1:4711`;
    expect((await master.ssh(["-O", "forward", "-L", spec, master.host()])).code).toBe(0);
    expect(await talk({ port }, "ab\n")).toBe(HELLO);
    expect((await master.ssh(["-O", "cancel", "-L", spec, master.host()])).code).toBe(0);
    await expect(talk({ port }, "")).rejects.toThrow("ECONNREFUSED");
    await master.closeMaster();
    master.close();
  });
});

describe("between nodes", () => {
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.bare, nodes: 3 });
    client = new Client(job);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  it("each node by its name", async () => {
    for (const node of ["node1", "node2", "node3"]) {
      expect(await client.ssh([client.host(node), "hostname"])).toMatchObject({ code: 0, stdout: `${node}\n` });
    }
  });

  it("-J: through one, and through two, to another, its host key checked", async () => {
    for (const jumps of ["node1", "node1,node3"]) {
      const hosts = jumps.split(",").map((node) => client.host(node));
      const words = ["-J", hosts.join(","), client.host("node2"), "hostname; echo $SSH_CONNECTION"];
      const result = await client.ssh(words);
      expect(result).toMatchObject({ code: 0, stderr: "" });
      const [name, connection = ""] = result.stdout.split("\n");
      expect(name).toBe("node2");
      // It came out of the container of the node before.
      const from = jumps.split(",").at(-1) ?? "";
      const addresses = await client.ssh([client.host(from), "ip -4 -o addr"]);
      expect(addresses.stdout).toContain(` ${connection.split(" ")[0]}/`);
    }
  });
});

describe("a control master", () => {
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.bare });
    client = new Client(job);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  it("ControlMaster auto and ControlPersist: the first makes it, the second uses it, then it goes", async () => {
    const path = client.path("cm");
    const words = ["-o", "ControlMaster=auto", "-o", `ControlPath=${path}`, "-o", "ControlPersist=2", client.host()];
    // Its standard error stays the master's for as long as that lives.
    const connection = async () => {
      const argv = client.argv([...words, "cat /proc/$PPID/stat | cut -d' ' -f4"]).map(quoted);
      return (await run(["sh", "-c", `${argv.join(" ")} 2>/dev/null`])).stdout;
    };
    const first = await connection();
    expect(first).toMatch(/^\d+\n$/);
    expect(await connection()).toBe(first);
    const check = async () => (await client.ssh(["-o", `ControlPath=${path}`, "-O", "check", client.host()])).code;
    expect(await check()).toBe(0);
    // Not by asking, which would keep it.
    await eventually("it has gone by itself", 20, () => !existsSync(path));
    expect(await connection()).not.toBe(first);
    await client.ssh(["-o", `ControlPath=${path}`, "-O", "exit", client.host()]);
  });
});

describe("a forwarded agent", () => {
  let job: HeldJob;
  let client: Client;
  let fingerprint: string;
  const stop: (() => void)[] = [];
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.debian });
    client = new Client(job);
    expect((await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", client.path("mine")])).code).toBe(0);
    fingerprint = (await run(["ssh-keygen", "-lf", client.path("mine.pub")])).stdout.split(" ")[1] ?? "";
  });
  afterAll(async () => {
    for (const work of stop) work();
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** An agent with the key, and what a client needs to know of it. */
  async function agent(name: string): Promise<Record<string, string>> {
    const path = client.path(name);
    const child = start(["ssh-agent", "-D", "-a", path]);
    stop.push(() => child.kill());
    const env = { SSH_AUTH_SOCK: path };
    await eventually("the agent answers", 20, async () => (await run(["ssh-add", "-l"], { env })).code === 1);
    expect((await run(["ssh-add", "-q", client.path("mine")], { env })).code).toBe(0);
    return env;
  }

  it("-A: the keys of the agent here can be used there, and are not there", async () => {
    const env = await agent("agent");
    const list = await client.ssh(["-A", client.host(), "ssh-add -l; ssh-add -T /dev/stdin"], {
      env,
      input: (await run(["cat", client.path("mine.pub")])).stdout,
    });
    expect(list.stdout).toContain(fingerprint);
    // The second proves that it signs.
    expect(list.code).toBe(0);
    expect(await client.ssh([client.host(), "ssh-add -l"], { env })).toMatchObject({ code: 2 });
  });

  it("the agent's socket has one place, which outlives the connection that brought it", async () => {
    const env = await agent("second");
    const first = client.argv(["-A", client.host(), "echo $SSH_AUTH_SOCK; sleep 1000"]);
    const one = start(first, { env });
    stop.push(() => one.kill());
    const path = await new Promise<string>((resolve) =>
      one.stdout.once("data", (piece: Buffer) => resolve(piece.toString().trim())),
    );
    expect(path).toBe("/run/gangway/agent.sock");
    // What was started with that variable, and a later connection's agent.
    const listed = "SSH_AUTH_SOCK=/run/gangway/agent.sock ssh-add -l";
    expect((await client.sh(listed)).stdout).toContain(fingerprint);
    const two = start(first, { env });
    stop.push(() => two.kill());
    await new Promise((resolve) => two.stdout.once("data", resolve));
    two.kill("SIGKILL");
    await eventually("the older agent answers", 20, async () => (await client.sh(listed)).stdout.includes(fingerprint));
    one.kill("SIGKILL");
    await eventually("nobody answers", 20, async () => (await client.sh(listed)).code === 2);
    const third = start(first, { env });
    stop.push(() => third.kill());
    await eventually("the new one answers", 20, async () => (await client.sh(listed)).stdout.includes(fingerprint));
  });
});
