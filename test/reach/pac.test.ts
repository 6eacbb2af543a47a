import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, GANGWAY, gangway, IMAGES, run, start } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { Client, startJob } from "./client.ts";
import { freePort } from "./sockets.ts";

/** A page whose script asks its server once more: what a browser shows in the end was fetched twice. */
const SERVER = `
import http.server, socket, sys, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "<p id=answer></p><script>fetch('/api').then(r => r.text()).then(t => answer.textContent = t)</script>"
        if self.path == "/api": body = "from " + socket.gethostname() + " as " + self.headers["Host"]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *words): pass
threading.Thread(target=http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Page).serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

describe("gangway pac, in a real browser", () => {
  let job: HeldJob;
  let client: Client;
  let forwarder: ReturnType<typeof start>;
  let socks: number;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES.debian, command: ["python3", "-c", SERVER] });
    client = new Client(job);
    socks = await freePort();
    forwarder = start([GANGWAY, "ssh", "-N", "-D", String(socks), job.id]);
    const proxy = ["-x", `socks5h://127.0.0.1:${socks}`];
    const page = ["curl", "-sf", "-m", "2", ...proxy, "http://node1:8888/api"];
    await eventually("the SOCKS port is there", 20, async () => (await run(page, { cwd: "/tmp" })).code === 0);
  });
  afterAll(async () => {
    forwarder.kill();
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** The page as it is in the end. */
  async function browse(pac: string, url: string): Promise<string> {
    const quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
    const profile = `--user-data-dir=${client.path("profile")}`;
    const words = [...quiet, "--disable-background-networking", profile, `--proxy-pac-url=${pac}`];
    const env = { HOME: client.directory, XDG_CONFIG_HOME: client.path("c"), XDG_CACHE_HOME: client.path("c") };
    const argv = ["timeout", "60", "chromium", ...words, "--virtual-time-budget=5000", "--dump-dom", url];
    return (await run(argv, { env, cwd: client.directory })).stdout;
  }

  async function configuration(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await gangway(["pac", "--socks", `localhost:${socks}`, ...words]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  }

  it("names that only the job knows are reached through the session, others directly", async () => {
    const file = await configuration("http://*.job:8888/*");
    const server = createServer(({ url }, response) => {
      if (url === "/proxy.pac") response.setHeader("Content-Type", "application/x-ns-proxy-autoconfig").end(file);
      else response.end("directly");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const place = server.address();
    const here = `http://127.0.0.1:${typeof place === "object" ? place?.port : 0}`;
    const page = `http://node1.${job.id}.job:8888`;
    expect(await browse(`${here}/proxy.pac`, `${page}/`)).toContain(`from node1 as node1.${job.id}.job:8888<`);
    expect(await browse(`${here}/proxy.pac`, `${here}/`)).toContain("directly");
    server.close();
  });

  it("the same file as a URL that holds it", async () => {
    const url = (await configuration("--data-url", "node1")).trim();
    expect(await browse(url, "http://node1:8888/")).toContain("from node1 as node1:8888<");
    // No pattern fits: nobody else knows the name.
    const other = (await configuration("--data-url", "http://node1:9999")).trim();
    expect(await browse(other, "http://node1:8888/")).not.toContain("from node1");
  });
});

describe("gangway pac", () => {
  it("says what browsers cannot do of a pattern, on standard error", async () => {
    const { code, stdout, stderr } = await gangway(["pac", "--socks", "7777", "https://a.cluster/x/*"]);
    expect(stderr).toMatch(/^gangway: the path \/x\/\* counts for nothing: browsers tell only the host/);
    expect(stdout).toMatch(/^\/\/ Made by `gangway pac`\.\nfunction FindProxyForURL/);
    expect(code).toBe(0);
  });

  it.each([
    [["--socks", "7777"], /missing required argument 'patterns'/],
    [["a"], /required option '-s, --socks/],
    [["--socks", "x", "a"], /"x" is no port/],
    [["--socks", "1", "a b"], /"a b" is no name of hosts/],
  ])("%j is wrong usage", async (words, message) => {
    const { code, stdout, stderr } = await gangway(["pac", ...words]);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
  });
});
