import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, IMAGES, run, start } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { Client, OURS, SOCKET, STOCK, startJob, TCP } from "./client.ts";
import { freePort } from "./sockets.ts";

/*
 * An editor's remote mode as VS Code does it: `ssh -T -D PORT HOST bash -s`, whose input is a script that installs a
 * server, starts it in a session of its own and prints where it listens. The server outlives every connection.
 */

/** The editor's server. It knows when it was born, and runs commands as an editor's terminal does. */
const SERVER = `
import http.server, os, socketserver, subprocess, threading, uuid
born = str(uuid.uuid4())
class Editor(http.server.BaseHTTPRequestHandler):
    def address_string(self): return "somebody"
    def do_GET(self):
        if self.path == "/born": text = born
        elif self.path == "/host": text = os.uname().nodename + " " + os.getcwd() + " " + os.environ.get("OF_THE_JOB", "")
        else: text = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True).stdout
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *words): pass
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
tcp = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Editor)
threading.Thread(target=Unix("server.sock", Editor).serve_forever, daemon=True).start()
with open("port.new", "w") as file: file.write(str(tcp.server_address[1]))
os.rename("port.new", "port")
tcp.serve_forever()
`;

/** What is fed to `bash -s`; SUM stands for the server's checksum, as an installer would check it. */
const INSTALL = `
set -eu
umask 077
cd /t
if [ ! -e port ]; then
  cat >server.py <<'THE_SERVER'
${SERVER}THE_SERVER
  [ "$(sha256sum server.py | cut -d' ' -f1)" = SUM ] || { echo "damaged"; exit 1; }
  command -v setsid >/dev/null
  nohup setsid python3 server.py >server.log 2>&1 </dev/null &
  tries=0
  while [ ! -e port ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
echo "listeningOn==$(cat port)=="
`;

const SUM = createHash("sha256").update(SERVER).digest("hex");

describe.each([
  { way: SOCKET, programs: STOCK },
  { way: TCP, programs: OURS },
])("by $way.name, $programs.name", ({ way, programs }) => {
  let job: HeldJob;
  let client: Client;
  const windows: ReturnType<Client["start"]>[] = [];
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.debian, words: ["--env", "OF_THE_JOB=yes"] });
    client = new Client(job, way, programs);
  });
  afterAll(async () => {
    for (const window of windows) window.kill();
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** What one window of the editor has: its connection, a proxy into the container, the port of the server there. */
  interface Window {
    readonly child: ReturnType<Client["start"]>;
    readonly proxy: number;
    readonly port: string;
  }

  /** Opens a window: one connection, over which the server is installed unless it is there. */
  async function open(words: readonly string[] = [], env: Record<string, string> = {}): Promise<Window> {
    const proxy = await freePort();
    const argv = client.argv(["-T", "-D", String(proxy), ...words, client.host(), "bash -s"]);
    const child = start(argv, { env, cwd: client.directory });
    windows.push(child);
    child.stdin.on("error", () => undefined);
    let heard = "";
    child.stdout.on("data", (piece: Buffer) => {
      heard += piece.toString();
    });
    child.stderr.on("data", (piece: Buffer) => {
      heard += piece.toString();
    });
    // The input stays open, and with it the connection.
    child.stdin.write(INSTALL.replace("SUM", SUM));
    await eventually("the server says where it listens", 20, () => heard.includes("=="));
    expect(heard).toMatch(/^listeningOn==\d+==\n$/);
    return { child, proxy, port: /\d+/.exec(heard)?.[0] ?? "" };
  }

  async function ask({ proxy, port }: Window, path: string): Promise<string> {
    const words = ["-sS", "-m", "20", "-x", `socks5h://127.0.0.1:${proxy}`, `http://127.0.0.1:${port}${path}`];
    const { stdout, stderr } = await run(["curl", ...words]);
    return stdout + stderr;
  }

  it("a server is installed and started, and survives the client's death; a window that comes back finds it", async () => {
    const first = await open();
    expect(await ask(first, "/host")).toBe("node1 /t yes");
    const born = await ask(first, "/born");
    first.child.kill("SIGKILL");
    const bashes = async () => (await client.sh("pgrep -c -x -f 'bash -s'")).stdout;
    await eventually("the window's shell has gone", 20, async () => (await bashes()) === "0\n");
    // The server's unix socket, to one of this side, as VS Code has it with `remote.SSH.remoteServerListenOnSocket`.
    const path = client.path("editor.sock");
    const back = await open(["-L", `${path}:/t/server.sock`]);
    expect(back.port).toBe(first.port);
    expect(await ask(back, "/born")).toBe(born);
    const bySocket = await run(["curl", "-sS", "-m", "20", "--unix-socket", path, "http://editor/born"]);
    expect(bySocket).toMatchObject({ code: 0, stdout: born, stderr: "" });
  });

  it("several windows at once, each with its own connection; one server", async () => {
    const four = await Promise.all([open(), open(), open(), open()]);
    const born = await Promise.all(four.map((window) => ask(window, "/born")));
    expect(new Set(born).size).toBe(1);
    for (const { child } of four.slice(1)) child.kill("SIGKILL");
    expect(await ask(four[0] as Window, "/born")).toBe(born[0]);
    expect((await client.sh("pgrep -c -f '[s]erver.py'")).stdout).toBe("1\n");
  });

  it("the server's terminals have the agent of the window that is open", async () => {
    await client.sh("pkill -f '[s]erver.py'; rm -f /t/port /t/server.sock");
    const key = client.path("key");
    const env = { SSH_AUTH_SOCK: client.path("agent") };
    windows.push(start(["ssh-agent", "-D", "-a", env.SSH_AUTH_SOCK]));
    await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]);
    await eventually("the agent answers", 20, async () => (await run(["ssh-add", "-q", key], { env })).code === 0);
    const first = await open(["-A"], env);
    const listed = await ask(first, "/agent");
    expect(listed).toMatch(/^256 SHA256:/);
    first.child.kill("SIGKILL");
    const back = await open(["-A"], env);
    await eventually("it has the new window's", 20, async () => (await ask(back, "/agent")) === listed);
  });
});

describe("an image without a shell", () => {
  it("the same by `sh -s`: a daemon is left behind and found again", async () => {
    const job = await startJob({ image: IMAGES.scratch });
    const client = new Client(job);
    const script = `
      cd /t
      [ -e started ] || { : >started; setsid sh -c 'while :; do /probe listen 4800; done' >/dev/null 2>&1 </dev/null & }
      until netstat -ltn | grep -q ':4800 '; do sleep 0.1; done
      echo listeningOn==4800==`;
    for (const visit of ["the first", "the second"]) {
      const child = client.start(["-T", client.host(), "sh -s"]);
      child.stdin.write(`${script}\n`);
      const heard = await new Promise<string>((resolve) =>
        child.stdout.once("data", (piece: Buffer) => resolve(piece.toString())),
      );
      expect(heard, visit).toBe("listeningOn==4800==\n");
      const asked = await client.ssh(["-W", "127.0.0.1:4800", client.host()]);
      expect(asked, visit).toMatchObject({ code: 0, stdout: "hello from node1\n" });
      child.kill("SIGKILL");
    }
    client.close();
    expect(await job.end()).toBe(0);
  });
});
