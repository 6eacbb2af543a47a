import { spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asUserArgv, eventually, IMAGES, run, USER } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { Client, OURS, quoted, SOCKET, STOCK, startJob, TCP } from "./client.ts";
import { answers, freePort } from "./sockets.ts";

/* What people use on top of OpenSSH: a debugger in a session, a browser and a notebook through it, a mount. */

describe("gdb in a session", () => {
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startJob({
      image: IMAGES.debian,
      command: ["sh", "-c", "echo ready; exec python3 -c 'import sys, time; sys.stdin.read()'"],
    });
    client = new Client(job);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  /*
   * The kernel lets a process be traced by others of its user, or, where Yama's ptrace_scope is 1, only by those it has
   * allowed. The machines that these tests run on may have no Yama: that the command allows it is tested with init.
   */
  async function attach(pid: string) {
    return await client.sh(`gdb -nx -p ${pid} -batch -ex bt -ex 'info inferiors' </dev/null`);
  }

  it("attaches to the job's command, sees where it is, and lets it go on", async () => {
    const pid = (await client.sh("pgrep -o -x python3")).stdout.trim();
    expect(pid).toMatch(/^\d+$/);
    const result = await attach(pid);
    expect(result.code).toBe(0);
    expect(result.stderr).not.toContain("ptrace");
    expect(result.stdout).toMatch(/^#0 .*read/m);
    expect(result.stdout).toMatch(new RegExp(`^\\* 1 +process ${pid} `, "m"));
    const state = await client.sh(`grep -E '^(State|TracerPid)' /proc/${pid}/status`);
    expect(state.stdout).toBe("State:\tS (sleeping)\nTracerPid:\t0\n");
  });

  it("finds it by the first of $_CONDOR_JOB_PIDS", async () => {
    const pid = (await client.sh("pgrep -o -x python3")).stdout.trim();
    const result = await attach("$(echo $_CONDOR_JOB_PIDS | cut -d' ' -f1)");
    expect(result.stdout).toMatch(new RegExp(`^\\* 1 +process ${pid} `, "m"));
  });
});

/** A page as a notebook's server has it: what it says in the end is written by its script. */
const PAGE = `<!doctype html><html><head><title>page</title></head><body><p id="answer">nothing yet</p>
<script>fetch("/api/kernel").then((reply) => reply.text()).then((text) => {
  document.getElementById("answer").textContent = text + " " + 6 * 7;
});</script></body></html>`;

const NOTEBOOK = `
import http.server, socket, sys, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kernel = self.path == "/api/kernel"
        text = "kernel of " + socket.gethostname() if kernel else sys.argv[1]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if kernel else "text/html")
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *words): pass
threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8888), Page).serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

describe.each([
  { way: SOCKET, programs: STOCK, network: ["--network", "none"] },
  { way: TCP, programs: OURS, network: [] },
])("a server on the container's loopback, by $way.name, $programs.name", ({ way, programs, network }) => {
  let job: HeldJob;
  let client: Client;
  let forwarder: ReturnType<Client["start"]>;
  let proxy: number;
  let port: number;
  beforeAll(async () => {
    const command = ["python3", "-c", NOTEBOOK, PAGE];
    job = await startJob({ image: IMAGES.debian, command, words: network });
    client = new Client(job, way, programs);
    [proxy, port] = [await freePort(), await freePort()];
    forwarder = client.start(["-N", "-D", String(proxy), "-L", `${port}:localhost:8888`, client.host()]);
    await eventually("it is forwarded", 20, async () => await reached());
  });
  afterAll(async () => {
    forwarder.kill();
    client.close();
    expect(await job.end()).toBe(0);
  });

  async function reached(): Promise<boolean> {
    return (await run(["curl", "-sf", "-m", "2", `http://127.0.0.1:${port}/api/kernel`])).code === 0;
  }

  /** What a browser, of a profile of its own, has in the end made of a page. */
  async function browse(words: readonly string[], url: string): Promise<string> {
    const profile = ["--user-data-dir", client.path("profile")].join("=");
    const quiet = ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"];
    const end = ["--virtual-time-budget=5000", "--dump-dom", url];
    const env = {
      HOME: client.directory,
      XDG_CONFIG_HOME: client.path("config"),
      XDG_CACHE_HOME: client.path("cache"),
    };
    const argv = ["timeout", "60", "chromium", "--headless", "--no-sandbox", profile, ...quiet, ...words, ...end];
    return (await run(argv, { env, cwd: client.directory })).stdout;
  }

  it("a page is fetched by a browser through -D", async () => {
    // Loopback addresses are otherwise the browser's own, past every proxy.
    const words = [`--proxy-server=socks5://127.0.0.1:${proxy}`, "--proxy-bypass-list=<-loopback>"];
    expect(await browse(words, "http://127.0.0.1:8888/")).toContain('<p id="answer">kernel of node1 42</p>');
  });

  it("a notebook is opened through -L", async () => {
    expect(await browse([], `http://127.0.0.1:${port}/`)).toContain('<p id="answer">kernel of node1 42</p>');
    // It is nowhere else: this host has no such server.
    expect(await answers({ port: 8888 })).toBe(false);
  });
});

/*
 * /dev/fuse is for everybody on most machines, and root's alone on some. The mount is made in a mount namespace of its
 * own, where there is one for everybody: so nothing can be left mounted either.
 */
const PRIVATELY = `
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$1"
  mknod "$1/fuse" c 10 229
  chmod 0666 "$1/fuse"
  mount --bind "$1/fuse" /dev/fuse
  shift
  exec "$@"
`;

const USE_THE_MOUNT = `
  set -eu
  sshfs -F "$CONFIG" -o "ssh_command=$SSH" -o "$OPTIONS" "$HOST:/w" "$MOUNT"
  trap 'fusermount3 -u "$MOUNT"' EXIT
  cd "$MOUNT"
  echo "type: $(stat -f -c %T .)"
  ls
  cat 'from  there'
  echo 'from here' >'from here'
  mkdir directory
  mv 'from here' directory/renamed
  printf 'more\\n' >>directory/renamed
  ln -s renamed directory/link
  chmod 0600 directory/renamed
  stat -c '%a %U %s' directory/renamed
  cat directory/link
  cp "$BIG" big
  cmp "$BIG" big && echo same
  rm big
  cd /
`;

describe.each([
  { image: "bare", way: SOCKET, programs: STOCK },
  { image: "scratch", way: SOCKET, programs: STOCK },
  { image: "debian", way: TCP, programs: OURS },
] as const)("sshfs: $image image, by $way.name, $programs.name", ({ image, way, programs }) => {
  it("mounts a directory of the job's, which is then read, written and renamed in", async () => {
    const job = await startJob({ image: IMAGES[image] });
    const client = new Client(job, way, programs);
    const device = mkdtempSync("/tmp/gangway-fuse-");
    try {
      const mount = client.path("mount");
      mkdirSync(mount);
      chownSync(mount, USER.uid, USER.gid);
      await client.sh("echo 'read me' >'from  there'");
      await run(["dd", "if=/dev/urandom", `of=${client.path("big")}`, "bs=1M", "count=32", "status=none"]);
      const [ssh = "", , config = ""] = client.argv([]);
      const variables = {
        ...{ CONFIG: config, SSH: ssh, OPTIONS: "BatchMode=yes", HOST: client.host(), MOUNT: mount },
        BIG: client.path("big"),
      };
      const env = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
      const inside = asUserArgv(USER, ["env", ...env, "sh", "-c", USE_THE_MOUNT]);
      const words = ["unshare", "--mount", "sh", "-euc", PRIVATELY, "sh", device, ...inside].map(quoted);
      const result = asRoot(words.join(" "));
      expect(result.stdout).toBe(
        [...["type: fuseblk", "from  there", "read me", `600 ${USER.name} 15`, "from here", "more", "same", ""]].join(
          "\n",
        ),
      );
      expect(result).toMatchObject({ code: 0, stderr: "" });
      // In the container it is a file like any other.
      const seen = await client.sh("cat directory/renamed; ls -A; readlink directory/link");
      expect(seen.stdout).toBe("from here\nmore\ndirectory\nfrom  there\nrenamed\n");
    } finally {
      rmSync(device, { recursive: true });
      client.close();
      expect(await job.end()).toBe(0);
    }
  });
});

/** Runs a shell's line as who runs the tests. */
function asRoot(line: string): { code: number; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync("sh", ["-c", line], { encoding: "utf8", timeout: 60_000 });
  return { code: status ?? -1, stdout, stderr };
}
