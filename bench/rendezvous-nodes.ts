import { type ChildProcess, fork } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { unfoldHostlist } from "../src/allocation/hostlist.ts";
import { GangwayError, reasonOf } from "../src/config/errors.ts";
import { dial } from "../src/rendezvous/dial.ts";
import { failureFrame, formatFrame } from "../src/rendezvous/frames.ts";
import { generateChannelIdentity } from "../src/rendezvous/identity.ts";
import type { KeptConnection } from "../src/rendezvous/kept.ts";
import { Pulse } from "../src/rendezvous/pulse.ts";
import type { StreamLink } from "../src/rendezvous/streams.ts";
import { generateKeyPair } from "../src/udi/keys.ts";

/*
 * Stands in for srun, and for the nodes: called as the launcher calls srun, it plays any number of node processes, which
 * speak the real protocol by the real code, over srun's channel (labelled lines of at most 1,024 bytes on a pipe). There are
 * no containers. One in a hundred nodes reads nothing for five seconds when it is told of the launch, and one in a hundred
 * dies without a word, its connection left open, once the command runs: the launcher must name exactly those.
 */

type Role = "plain" | "stalled" | "dying";

/** What a worker is told on its command line. */
interface Share {
  readonly role: Role;
  readonly names: readonly (readonly [index: number, name: string])[];
  readonly call: Call;
}

interface Call {
  readonly version: string;
  readonly addresses: readonly string[];
  readonly port: number;
  readonly key: string;
  readonly labelWidth: number;
}

/** What a worker tells. */
type News =
  | { readonly kind: "launched" }
  | { readonly kind: "running" }
  | { readonly kind: "received"; readonly most: number };

const STALL_MS = 5000;
/** As a node process has it. */
const DIAL_LIMIT_MS = 60_000;
const AT_ONCE = 100;
const PLAIN_WORKERS = 3;
/** Time for what is still under way when the command starts. */
const SETTLE_MS = 1000;
/** The unit of /proc/PID/stat, as sysconf(_SC_CLK_TCK) has it on every Linux of today. */
const TICK_MS = 10;

function wordAfter(words: readonly string[], flag: string): string {
  const word = words[words.indexOf(flag) + 1];
  if (!words.includes(flag) || word === undefined) throw new Error(`no ${flag} among ${words.join(" ")}`);
  return word;
}

/** What the process at the other end of the pipe has used until now. */
function consumption(pid: number): { cpuMs: number; peakKib: number; residentKib: number; anonKib: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  // Fields 14 and 15 of proc(5), of which the first two are cut off.
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    peakKib: kib("VmHWM"),
    residentKib: kib("VmRSS"),
    anonKib: kib("RssAnon"),
  };
}

// ---- srun ----------------------------------------------------------------------------------------------------------

function srun(words: readonly string[], result: string): void {
  const list = words.find((word) => word.startsWith("--nodelist="))?.slice("--nodelist=".length) ?? "";
  const names = unfoldHostlist(list, { kind: "variable", name: "--nodelist" });
  const call: Call = {
    version: wordAfter(words, "--gangway"),
    // Each node has an IPv4 address of its own to come from, on the loopback interface.
    addresses: wordAfter(words, "--meet")
      .split(",")
      .filter((address) => isIPv4(address)),
    port: Number(wordAfter(words, "--port")),
    key: wordAfter(words, "--key"),
    labelWidth: String(names.length - 1).length,
  };
  const few = Math.max(1, Math.floor(names.length / 100));
  const shares: Share[] = [
    { role: "stalled", call, names: [] },
    { role: "dying", call, names: [] },
    ...Array.from({ length: PLAIN_WORKERS }, (): Share => ({ role: "plain", call, names: [] })),
  ];
  const numbered = names.map((name, index) => [index, name] as const);
  const [stalled, dying, ...plain] = shares.map((share) => ({ ...share, names: [] as (readonly [number, string])[] }));
  if (stalled === undefined || dying === undefined) throw new Error("no shares");
  stalled.names = numbered.slice(-2 * few, -few);
  dying.names = numbered.slice(-few);
  for (const [place, entry] of numbered.slice(0, -2 * few).entries()) plain[place % PLAIN_WORKERS]?.names.push(entry);

  let most = 0;
  const began = performance.now();
  const workers = [stalled, dying, ...plain].map((share) => {
    const worker = fork(process.argv[1] ?? "", ["worker"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    worker.send(share);
    worker.on("message", (news: News) => {
      if (news.kind === "received") most = Math.max(most, news.most);
      else if (news.kind === "launched" && share.role === "stalled") stall(worker);
      else if (news.kind === "running") void run();
    });
    return worker;
  });
  const run = async () => {
    const wallMs = performance.now() - began;
    const launcher = consumption(process.ppid);
    workers[1]?.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const few = dying.names.map(([, name]) => name);
    writeFileSync(result, JSON.stringify({ nodes: names.length, wallMs, ...launcher, bytesToNode: most, dying: few }));
  };
  process.on("SIGTERM", () => {
    for (const worker of workers) worker.kill("SIGKILL");
    process.exit(143);
  });
}

/** Nothing of it runs: what it is sent stays in the network. */
function stall(worker: ChildProcess): void {
  worker.kill("SIGSTOP");
  setTimeout(() => worker.kill("SIGCONT"), STALL_MS);
}

// ---- the nodes -----------------------------------------------------------------------------------------------------

function tell(news: News): void {
  process.send?.(news);
}

async function play({ names, call }: Share): Promise<void> {
  const pulse = new Pulse();
  // All nodes have the same keys, which the launcher does not look at: making them is not what is measured.
  const keys = { hostKey: generateKeyPair("host").publicKey, userKey: generateKeyPair("user").publicKey };
  let launched = false;
  const onLaunch = () => {
    if (!launched) tell({ kind: "launched" });
    launched = true;
  };
  const fail = (index: number, node: string) => (error: unknown) => {
    process.stdout.write(`${index}: ${failureFrame(node, new GangwayError(reasonOf(error)))}\n`);
  };
  // Nodes answer at once, each for itself; a process that plays thousands of them can only do so for some at a time.
  const places = new Places(AT_ONCE);
  await Promise.all(
    names.map(([index, name]) => playOne(index, name, call, pulse, keys, onLaunch, places).catch(fail(index, name))),
  );
}

/** Room for so many at a time. */
class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async enter(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

async function playOne(
  index: number,
  name: string,
  call: Call,
  pulse: Pulse,
  keys: { hostKey: string; userKey: string },
  onLaunch: () => void,
  places: Places,
): Promise<void> {
  await places.enter();
  const identity = generateChannelIdentity();
  const label = String(index).padStart(call.labelWidth);
  const say = (line: string) => process.stdout.write(`${label}: ${line}\n`);
  if (index % 10 === 0) say(`Lmod has loaded ${"modules, ".repeat(100)}`);
  say(formatFrame({ kind: "hello", node: name, version: call.version, fingerprint: identity.fingerprint }));
  const { addresses, port, key } = call;
  const localAddress = `127.${1 + (index >> 16)}.${(index >> 8) & 0xff}.${index & 0xff}`;
  const reached = await dial({ addresses, port, key, identity, pulse, localAddress, timeoutMs: DIAL_LIMIT_MS });
  places.leave();
  await new Promise<void>((resolve) => {
    serve(index, reached.connection, keys, onLaunch, (stream) => reached.openStream(stream), resolve);
  });
}

function serve(
  index: number,
  connection: KeptConnection,
  keys: { hostKey: string; userKey: string },
  onLaunch: () => void,
  openStream: (name: string) => Promise<StreamLink>,
  done: () => void,
): void {
  let received = 0;
  const say = (message: object) => connection.send(message);
  const hear = async (message: { kind: string; line?: string }): Promise<void> => {
    received += JSON.stringify(message).length + 1;
    switch (message.kind) {
      case "launch":
        onLaunch();
        say({ kind: "planned", engine: "Docker", image: "sha256:0", command: ["true"], workdir: "/" });
        if (index === 0) await openStreams();
        say({ kind: "prepared", ...keys, joined: false });
        break;
      case "up":
        say({ kind: "up", port: 21_000, addresses: [connection.localAddress], network: "host" });
        break;
      case "membership":
        tell({ kind: "received", most: received });
        say({ kind: "answered" });
        break;
      case "say":
        if (index === 0 && message.line === "go") {
          say({ kind: "heard", line: "started 7" });
          tell({ kind: "running" });
        }
        break;
      case "end":
        say({ kind: "ended" });
        await connection.close();
        done();
        break;
    }
  };
  const openStreams = async () => {
    const [stdin, stdout, stderr] = await Promise.all(["stdin", "stdout", "stderr"].map(openStream));
    // The launcher cuts them at the end, which is as it should be.
    for (const stream of [stdin?.receive().resume(), stdout?.send(), stderr?.send()])
      stream?.on("error", () => undefined);
  };
  connection.attend({ onMessage: (message) => void hear(message as { kind: string }), onEnd: done });
}

if (process.argv[2] === "worker") {
  process.once("message", (share: Share) => {
    void play(share).then(() => process.exit(0));
  });
} else {
  const result = process.env.GANGWAY_BENCH_RESULT;
  if (result === undefined) throw new Error("GANGWAY_BENCH_RESULT is not set");
  srun(process.argv.slice(2), result);
}
