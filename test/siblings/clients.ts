// Those who connect to an init of a test, and an init that holds without a job for them to connect to.
import { chmodSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { buildAll, cleanUp, Launcher, makeRunDir, Started, until } from "./helpers.ts";

const { rig, init } = buildAll();

/** All that connected and have not been let go of. */
export const clients = new Set<Client>();

export async function leave(): Promise<void> {
  for (const client of clients) client.socket.destroy();
  clients.clear();
  await cleanUp();
}

export class Client {
  text = "";
  closed = false;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    clients.add(this);
    socket.on("data", (data) => {
      this.text += data.toString();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
    });
  }

  /** As far as this side knows: init may have it in its backlog only. */
  async connected(): Promise<void> {
    await until("connected", () => !this.socket.connecting);
  }

  async served(): Promise<this> {
    await until("a banner", () => this.text.startsWith("SSH-2.0-fake\n"));
    return this;
  }

  async ask(question: string): Promise<string> {
    const from = this.text.length;
    this.socket.write(`${question}\n`);
    await until(`an answer to ${question}`, () => this.text.slice(from).includes("answered\n"));
    return this.text.slice(from, this.text.indexOf("answered\n", from));
  }

  /** Asks several, in order; their answers are not looked at. */
  async tell(...questions: string[]): Promise<void> {
    for (const question of questions) await this.ask(question);
  }

  async over(): Promise<string> {
    await until("the connection is closed", () => this.closed);
    return this.text;
  }
}

export const byUnix = (runDir: string) => new Client(connect(join(runDir, "ssh")));
export const byTcp = (port: number, host = "127.0.0.1", localAddress?: string) =>
  new Client(connect({ port, host, ...(localAddress !== undefined && { localAddress }) }));

interface Holding {
  rig?: string[];
  program?: string;
  command?: string[];
  /** A command that init is started by. */
  as?: string[];
  prepare?: (runDir: string) => void;
}

/** An init with its launcher, which has said `up`; it holds, or waits for `go` with a command. */
export async function hold(args: string[] = [], options: Holding = {}) {
  const runDir = makeRunDir();
  const launcher = await Launcher.listen(runDir);
  options.prepare?.(runDir);
  if (options.as) chmodSync(join(runDir, "ctl"), 0o777);
  const marker = `gangway-sessions-${process.pid}-${clients.size}-${Math.random()}`;
  const command = options.command ? ["--", ...options.command] : ["--hold"];
  const program = [
    ...(options.as ?? []),
    options.program ?? init,
    "--launcher",
    "--run-dir",
    runDir,
    ...args,
    ...command,
  ];
  const started = new Started(rig, [...(options.rig ?? ["--pid"]), "--", ...program], {
    env: { ...process.env, SECRET_OF_THE_JOB: "x", MARKER: marker, REPORT: join(runDir, "report") },
  });
  const [, port, addresses] = await launcher.hears(/^up (\d+)(.*)$/);
  return { runDir, launcher, started, port: Number(port), addresses: (addresses ?? "").trim(), marker };
}
