import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DOCKER, eventually, GANGWAY, IMAGES, INSTALL, ROOTLESS, type RunOptions, run, start } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { buildPainter, Display } from "../x11/display.ts";
import { Client, OURS, SOCKET, STOCK, startJob, TCP } from "./client.ts";

/*
 * X11 out of the job, seen on the display. None of the images has xauth, and the scratch image no shell, no /tmp and no
 * home; there its clients are one static program (test/x11/painter.c), which finds display and authority by DISPLAY and
 * XAUTHORITY alone.
 */

let display: Display;
let place: string;
let painter: string;
beforeAll(async () => {
  place = mkdtempSync("/tmp/gangway-painter-");
  chmodSync(place, 0o755);
  painter = buildPainter(place);
  display = await Display.start();
});
afterAll(async () => {
  await display.close();
  rmSync(place, { recursive: true });
});

/** Debian's ssh takes -X for -Y unless it is told this. */
const UNTRUSTED = ["-o", "ForwardX11Trusted=no", "-X"];
const TRUSTED = ["-Y"];

async function startX11Job(
  image: keyof typeof IMAGES,
  nodes = 1,
  engine = DOCKER,
  more: { readonly name?: string } = {},
): Promise<HeldJob> {
  return await startJob({
    ...more,
    image: IMAGES[image],
    nodes,
    engine,
    words: ["--read-only", "--volume", `${painter}:/painter:ro`],
  });
}

/** The authorities that the job's sshd keeps for its sessions, on the host. */
const authorities = (job: HeldJob, node = 0) => readdirSync(job.file(node, "x11"));

/** The one display in a file of authorities, as the program xauth sees it. */
async function displayIn(file: string): Promise<number> {
  const { stdout } = await run(["xauth", "-q", "-f", file, "list"]);
  const [, number = ""] = /^node1\/unix:(\d+) {2}MIT-MAGIC-COOKIE-1 {2}[0-9a-f]{32}\n$/.exec(stdout) ?? [];
  expect(number, stdout).not.toBe("");
  return Number(number);
}

class Painting {
  readonly #child: ReturnType<typeof start>;
  #output = "";
  readonly ended: Promise<number>;

  constructor(argv: readonly string[], options: RunOptions = {}) {
    this.#child = start(argv, { ...options, env: { ...display.env, ...options.env } });
    this.#child.stdin.on("error", () => undefined);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.on("data", (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    this.ended = new Promise((done) => this.#child.once("close", (code) => done(code ?? -1)));
  }

  get output(): string {
    return this.#output;
  }

  /** Until the window is there. */
  async drawn(): Promise<this> {
    const said = eventually(`drawn, not: ${this.#output}`, 30, () => this.#output.includes("drawn\n"));
    await Promise.race([said, this.ended.then((code) => Promise.reject(new Error(`${code}: ${this.#output}`)))]);
    return this;
  }

  async over(): Promise<number> {
    this.#child.stdin.end();
    return await this.ended;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** The server takes a window away once it has heard that its client is gone. */
const nothingAt = async (x: number, y = 20) =>
  await eventually("a window is gone", 20, () => display.pixel(x, y) === "000000");

const paint = (client: Client, words: readonly string[], colour: string, x = 0, node = "node1") =>
  new Painting(client.argv([...words, client.host(node), `/painter ${colour} ${x} 0`]));

describe.each([
  { engine: DOCKER, image: "scratch", way: SOCKET, programs: STOCK },
  { engine: DOCKER, image: "debian", way: TCP, programs: OURS },
  // On the host's network, where the displays of all jobs are, and IPv6 is.
  { engine: ROOTLESS, image: "scratch", way: SOCKET, programs: OURS },
] as const)("X11: $engine.name, $image image, by $way.name, $programs.name", ({ engine, image, way, programs }) => {
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startX11Job(image, 1, engine);
    client = new Client(job, way, programs);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  it.each([
    ["trusted", TRUSTED, "c0ffee"],
    ["untrusted", UNTRUSTED, "decade"],
  ] as const)(
    "%s: a window of the job's is on the display, and its authority goes with the session",
    async (...row) => {
      const [, words, colour] = row;
      await nothingAt(20);
      const painting = await paint(client, words, colour).drawn();
      expect(display.pixel(20, 20)).toBe(colour);
      expect(authorities(job)).toHaveLength(1);
      expect(await painting.over()).toBe(0);
      await eventually("its authority is gone", 20, () => authorities(job).length === 0);
      await nothingAt(20);
    },
  );

  it("an untrusted client does not see what else is on the screen, a trusted one does", async () => {
    const spy = async (words: readonly string[]) =>
      await client.ssh([...words, client.host(), "/painter spy"], { env: display.env });
    expect(await spy(TRUSTED)).toMatchObject({ code: 0, stdout: `${640 * 480 * 4} bytes\n` });
    const refused = await spy(UNTRUSTED);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^painter: error \d+ of request 73$/m);
  });

  it("each session has a display and an authority of its own, over one connection, too", async () => {
    // The third goes over the second's connection.
    const shared = ["-o", "ControlMaster=auto", "-o", `ControlPath=${client.path("master")}`];
    const colours = ["aa0000", "00bb00", "0000cc"];
    const paintings: Painting[] = [];
    for (const [n, colour] of colours.entries())
      paintings.push(await paint(client, [...TRUSTED, ...(n === 0 ? [] : shared)], colour, 50 * n).drawn());
    expect(colours.map((_, n) => display.pixel(50 * n + 20, 20))).toEqual(colours);
    const [first, ...rest] = authorities(job).map((name) => job.file(0, join("x11", name)));
    expect(rest).toHaveLength(2);
    expect(statSync(first ?? "").mode & 0o777).toBe(0o600);
    const numbers = await Promise.all([first, ...rest].map(async (file) => await displayIn(file ?? "")));
    expect(new Set(numbers).size).toBe(3);
    expect(await paintings[2]?.over()).toBe(0);
    await eventually("its authority is gone", 20, () => authorities(job).length === 2);
    await nothingAt(120);
    expect(colours.map((_, n) => display.pixel(50 * n + 20, 20))).toEqual(["aa0000", "00bb00", "000000"]);
    for (const painting of paintings.slice(0, 2)) expect(await painting.over()).toBe(0);
    await eventually("no authority is left", 20, () => authorities(job).length === 0);
  });

  it("nobody without the authority is let through, though he finds the display", async () => {
    const painting = await paint(client, TRUSTED, "aa0000").drawn();
    const number = await displayIn(job.file(0, join("x11", authorities(job)[0] ?? "")));
    const stranger = await client.ssh([
      "-o",
      `SetEnv=DISPLAY=localhost:${number}`,
      client.host(),
      "/painter 00bb00 200 0",
    ]);
    expect(stranger).toMatchObject({ code: 1, stderr: "painter: the server hung up\n" });
    expect(display.pixel(220, 20)).toBe("000000");
    expect(await painting.over()).toBe(0);
  });

  it.each(["the client", "its sshd"])("%s killed: its authority goes, too", async (who) => {
    const painting = await paint(client, TRUSTED, "aa0000").drawn();
    const [file = ""] = authorities(job);
    if (who === "the client") painting.kill();
    // The pid that the file is named after, as it is in the container, and its child, which serves the connection.
    else await client.sh(`kill -KILL $(cat /proc/${file.split(".")[0]}/task/*/children) ${file.split(".")[0]}`);
    await painting.ended;
    await eventually("its authority is gone", 20, () => authorities(job).length === 0);
  });
});

describe("an X11 client in a job", () => {
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    // As HTCondor numbers jobs, for its spelling.
    job = await startX11Job("scratch", 2, DOCKER, { name: `${process.pid}.0` });
    client = new Client(job, SOCKET, OURS);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  it("on another node, through a node without xauth, paints", async () => {
    const painting = await new Painting(
      client.argv([...TRUSTED, client.host(), "ssh -Y node2 /painter 0d0e0f 0 0"]),
    ).drawn();
    expect(display.pixel(20, 20)).toBe("0d0e0f");
    expect([authorities(job, 0).length, authorities(job, 1).length]).toEqual([1, 1]);
    expect(painting.output).toBe("drawn\n");
    expect(await painting.over()).toBe(0);
    await eventually("no authority is left", 20, () => authorities(job, 1).length === 0);
  });

  it.each([
    ["gangway ssh -X", [GANGWAY, "ssh", ...UNTRUSTED]],
    ["gangway ssh -Y", [GANGWAY, "ssh", ...TRUSTED]],
    ["condor_ssh_to_job -X", [join(INSTALL, "lib/gangway/condor/condor_ssh_to_job"), "-X"]],
  ])("by %s, paints", async (_, words) => {
    const painting = await new Painting([...words, job.id, "/painter 0e0d0c 0 0"]).drawn();
    expect(display.pixel(20, 20)).toBe("0e0d0c");
    expect(await painting.over()).toBe(0);
    await eventually("its authority is gone", 20, () => authorities(job).length === 0);
    await nothingAt(20);
  });

  it("where init has made no place for authorities, has its own in the memory that every container has", async () => {
    rmSync(job.file(0, "x11"), { recursive: true });
    const kept = async () => (await client.sh("ls /dev/shm")).stdout;
    const painting = await paint(client, TRUSTED, "0d0e0f").drawn();
    expect(await kept()).toMatch(/^gangway-x11\.\d+\.\w+\n$/);
    expect(await painting.over()).toBe(0);
    await eventually("its authority is gone", 20, async () => (await kept()) === "");
  });

  describe("by our ssh, on a host without xauth", () => {
    const spy = async (option: string, env: Readonly<Record<string, string>>) => {
      const words = ["-o", "XAuthLocation=/nonexistent", option, client.host(), "/painter spy"];
      return await client.ssh(words, { env });
    };
    const SEEN = { code: 0, stdout: `${640 * 480 * 4} bytes\n`, stderr: "" };

    it("trusted: the cookie is looked up in the user's file", async () => {
      expect(await spy("-Y", display.env)).toMatchObject(SEEN);
      // By an address its entry is of another kind.
      const address = process.env.GANGWAY_TEST_DOCKER_GATEWAY ?? "";
      expect(await spy("-Y", await display.byName(address))).toMatchObject(SEEN);
    });

    it("untrusted: says what is missing, and the session goes on without windows", async () => {
      expect(await spy("-X", display.env)).toMatchObject({
        code: 1,
        stdout: "",
        stderr:
          "Warning: untrusted X11 forwarding setup failed: there is no xauth program here, which makes its key; " +
          "trusted forwarding (-Y) needs none\r\npainter: DISPLAY is not localhost:NUMBER\n",
      });
    });

    it("whatever is in that file, it finds the cookie where xauth does", async () => {
      const whole = readFileSync(display.env.XAUTHORITY ?? "");
      const broken = fc.oneof(
        fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, byte]) => whole.with(at, byte)),
        fc.nat(whole.length - 1).map((end) => whole.subarray(0, end)),
        fc.uint8Array({ maxLength: 200 }).map((junk) => Buffer.concat([junk, whole])),
      );
      const XAUTHORITY = client.path("authority");
      await fc.assert(
        fc.asyncProperty(broken, async (content) => {
          writeFileSync(XAUTHORITY, content, { mode: 0o644 });
          const listed = await run(["xauth", "-q", "-i", "-f", XAUTHORITY, "list", `unix:${display.number}`]);
          const known = listed.stdout.endsWith(` MIT-MAGIC-COOKIE-1  ${display.cookie}\n`);
          expect(await spy("-Y", { ...display.env, XAUTHORITY })).toMatchObject({ code: known ? 0 : 1 });
        }),
        { numRuns: 25 },
      );
    });
  });
});

it("gangway ssh -X JOB xterm, from the Debian image", async () => {
  const job = await startX11Job("debian");
  try {
    const wait = "until test -e /w/end; do sleep 0.1; done";
    const xterm = `xterm -bg '#123456' -geometry 20x5+100+100 -e '${wait}'`;
    const painting = new Painting([GANGWAY, "ssh", ...UNTRUSTED, job.id, xterm]);
    await eventually("a terminal's window", 30, () => display.pixel(110, 160) === "123456");
    expect(await job.shell(["touch", "/w/end"])).toMatchObject({ code: 0, stderr: "" });
    expect(await painting.over()).toBe(0);
    await nothingAt(110, 160);
    await eventually("its authority is gone", 20, () => authorities(job).length === 0);
  } finally {
    expect(await job.end()).toBe(0);
  }
});
