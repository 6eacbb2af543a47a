import { GangwayError, LaunchError } from "../config/errors.ts";
import type { Attachment } from "../engine/types.ts";
import type { Frame } from "../rendezvous/frames.ts";
import { type Encoded, encode, type KeptConnection } from "../rendezvous/kept.ts";
import type { Incoming, StreamLink } from "../rendezvous/streams.ts";
import { formatLauncherMessage, type LauncherMessage, parseInitLine } from "./control.ts";
import { Deferred, within } from "./deferred.ts";
import type { JobNode, NodeLink } from "./node.ts";
import { encodeToNode, parseToLauncher, type ToLauncher, type ToNode } from "./node-protocol.ts";

type Said<K extends ToLauncher["kind"]> = Extract<ToLauncher, { readonly kind: K }>;

export interface FarNodeEvents {
  onNote(text: string): void;
  /** @param node its name */
  onPull(said: Said<"pull">, node: string): void;
  onSignal(signal: number): void;
  /** @returns the reply's line */
  onAsk(line: string): string;
}

/** What is said to many nodes: it is encoded once. */
export class ForMany {
  readonly encoded: Encoded;

  /** @throws GangwayError for what is longer than a line may be */
  constructor(message: ToNode) {
    this.encoded = encode(encodeToNode(message));
  }
}

/** A process that does not answer a question any more is as good as gone. */
const ANSWER_LIMIT_MS = 5000;
/** Who started the processes, and was killed, takes them along: that it was killed tells more, and may come a moment later. */
const STARTER_LIMIT_MS = 250;
/** The last words about the output may come behind the output itself. */
const COUNT_LIMIT_MS = 5000;

/** A node of the job whose process on its host the launcher speaks to. */
export class FarNode implements NodeLink {
  readonly node: JobNode;
  readonly came = new Deferred<KeptConnection>();
  readonly planned = new Deferred<Said<"planned">>();
  readonly prepared = new Deferred<Said<"prepared">>();
  readonly up = new Deferred<Said<"up">>();
  readonly answered = new Deferred<void>();
  /** Nothing is left on its host, or nothing can be heard of it any more. */
  readonly over = new Deferred<void>();
  /** It said itself that nothing is left. */
  confirmed = false;
  #error: LaunchError | undefined;
  #taken = false;
  readonly #events: FarNodeEvents;
  readonly #streams = new Map<string, Deferred<StreamLink>>();
  readonly #inspections = new Map<number, Deferred<Said<"inspected">>>();
  readonly #output = new Deferred<Said<"output">>();
  #incoming: readonly Incoming[] = [];
  #questions = 0;
  #connection: KeptConnection | undefined;

  constructor(node: JobNode, events: FarNodeEvents) {
    this.node = node;
    this.#events = events;
    node.join(this);
  }

  /** Until it is lost, which {@link node} knows. */
  get connected(): boolean {
    return true;
  }

  /** To init. */
  send(message: LauncherMessage): void {
    this.say({ kind: "say", line: formatLauncherMessage(message).trimEnd() });
  }

  /** Init's channel is its process's to close. */
  close(): void {}

  get name(): string {
    return this.node.node.name;
  }

  get index(): number {
    return this.node.node.index;
  }

  /** Why it is lost. */
  get error(): LaunchError | undefined {
    return this.#error;
  }

  /** It is lost because there is a job of that name on its host. */
  get taken(): boolean {
    return this.#taken;
  }

  /** What it said before it could connect. */
  hearFrame(frame: Exclude<Frame, { kind: "hello" }>): void {
    if (frame.kind === "foreign") {
      this.fail(`its Gangway speaks protocol ${frame.protocol}, which this launcher does not`, SAME_VERSION);
    } else this.fail(frame.text, frame.hint, frame.code);
  }

  /** Its process has come. */
  meet(connection: KeptConnection): void {
    this.#connection = connection;
    connection.attend({
      onMessage: (message) => {
        try {
          this.#hear(parseToLauncher(message));
        } catch (error) {
          if (!(error instanceof GangwayError)) throw error;
          this.fail(error.message, error.hint);
        }
      },
      onEnd: ({ text }) => {
        const end = () => {
          this.fail(`its process on that host is lost: ${text}`, LOST);
          this.over.resolve();
        };
        if (this.confirmed) end();
        else setTimeout(end, STARTER_LIMIT_MS);
      },
    });
    this.came.resolve(connection);
  }

  /** It opened a connection for the bytes of a stream. */
  takeStream(name: string, link: StreamLink): void {
    this.#stream(name).resolve(link);
  }

  #stream(name: string): Deferred<StreamLink> {
    const known = this.#streams.get(name) ?? new Deferred<StreamLink>();
    this.#streams.set(name, known);
    return known;
  }

  /** The command's streams, there when the node is prepared. */
  async attachment(): Promise<Attachment> {
    const [stdin, stdout, stderr] = await Promise.all([
      this.#stream("stdin").promise,
      this.#stream("stdout").promise,
      this.#stream("stderr").promise,
    ]);
    const input = stdin.send();
    const [out, err] = [stdout.receive(), stderr.receive()];
    this.#incoming = [out, err];
    // A launch that was given up meanwhile has nobody to hear of it.
    for (const stream of [input, out, err]) stream.on("error", () => undefined);
    const destroy = () => {
      for (const stream of [input, out, err]) stream.destroy();
    };
    return { stdin: input, stdout: out, stderr: err, destroy };
  }

  /** Whether all that the command wrote has come; to be asked when its output is at its end. */
  async outputIsWhole(): Promise<boolean> {
    const unknown = () => new GangwayError("the node did not say how much it was");
    try {
      const said = await within(this.#output.promise, COUNT_LIMIT_MS, unknown);
      return this.#incoming[0]?.bytes === said.stdout && this.#incoming[1]?.bytes === said.stderr;
    } catch {
      return false;
    }
  }

  say(message: ToNode | ForMany): void {
    this.#connection?.send(message instanceof ForMany ? message.encoded : encodeToNode(message));
  }

  get connection(): KeptConnection | undefined {
    return this.#connection;
  }

  async inspect(): Promise<Said<"inspected">> {
    const id = ++this.#questions;
    const answer = new Deferred<Said<"inspected">>();
    this.#inspections.set(id, answer);
    this.say({ kind: "inspect", id });
    const silent = () => new LaunchError(this.name, "its process does not answer");
    return await within(answer.promise, ANSWER_LIMIT_MS, silent).finally(() => this.#inspections.delete(id));
  }

  /** It is lost to the launch. The first reason counts. */
  fail(said: string, hint?: string, exitCode?: number): void {
    // It may have named itself already.
    const reason = said.startsWith(`${this.name}: `) ? said.slice(this.name.length + 2) : said;
    const details = { ...(hint === undefined ? {} : { hint }), ...(exitCode === undefined ? {} : { exitCode }) };
    this.lose(new LaunchError(this.name, reason, details));
  }

  lose(error: LaunchError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    const waiting = [this.came, this.planned, this.prepared, this.up, this.answered, this.#output];
    for (const each of [...waiting, ...this.#streams.values(), ...this.#inspections.values()]) each.reject(error);
    this.node.lose(error);
  }

  #hear(message: ToLauncher): void {
    switch (message.kind) {
      case "note":
        this.#events.onNote(`${this.name}: ${message.text}`);
        break;
      case "pull":
        this.#events.onPull(message, this.name);
        break;
      case "planned":
        this.planned.resolve(message);
        break;
      case "prepared":
        this.prepared.resolve(message);
        break;
      case "up":
        this.up.resolve(message);
        break;
      case "answered":
        this.answered.resolve();
        break;
      case "heard": {
        const said = parseInitLine(message.line);
        if (said !== undefined) this.node.hear(said);
        break;
      }
      case "closed":
        this.node.lose();
        break;
      case "failed":
        this.#taken ||= message.taken;
        this.fail(message.message, message.hint, message.exitCode);
        break;
      case "signalled":
        this.#events.onSignal(message.signal);
        break;
      case "output":
        this.#output.resolve(message);
        break;
      case "inspected":
        this.#inspections.get(message.id)?.resolve(message);
        break;
      case "ask":
        this.say({ kind: "answer", id: message.id, line: this.#events.onAsk(message.line) });
        break;
      case "ended":
        this.confirmed = true;
        this.over.resolve();
        break;
    }
  }
}

const SAME_VERSION = "install the same version of Gangway on every host";
const LOST =
  "the host, its network or its engine may be down, or somebody killed the process; the job was ended with it";
