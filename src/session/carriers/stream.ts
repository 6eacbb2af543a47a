import { JobError, STATUS } from "../../config/errors.ts";
import { printable } from "../../config/printable.ts";
import { BEAT, RESTING } from "./frames.ts";
import type { CarrierCommand, GuardedCarrier } from "./guard.ts";
import { copyNear, type LocalEnd } from "./near.ts";
import { type CarriedRequest, NoLineError, parseReply, readMarkedLine, renderLine } from "./words.ts";

/** A manager may take its time to start a process. */
const PATIENCE_MS = 60_000;
/** Lines of a failed carrier's own words. */
const TOLD_LINES = 6;

/** A way to a job's sshd by a workload manager, of which the reply was "ready". */
export class CarrierStream {
  readonly #carrier: GuardedCarrier;
  readonly #request: CarriedRequest;
  readonly #connector: string;
  readonly #beats: NodeJS.Timeout;
  /** A program of its own says since then that the session lives. */
  #copied = false;
  /** As `gangway key authorize --kit` prints it; empty where no key was to be signed. */
  readonly kit: string;

  private constructor(carrier: GuardedCarrier, kit: string, request: CarriedRequest, connector: string) {
    this.#carrier = carrier;
    this.#request = request;
    this.#connector = connector;
    this.kit = kit;
    // The other side takes silence for death, and whoever connects may take a while.
    this.#beats = setInterval(() => carrier.outgoing.write(BEAT), request.silenceMs / 4);
  }

  /**
   * Asks for the job over a carrier, which is this stream's from now on.
   *
   * @param command by which that was started
   * @param connector the installation's, by its absolute path
   * @throws JobError as the job's host has it; or, with what the carrier said itself, when there is no answer (exit status 76)
   */
  static async open(
    carrier: GuardedCarrier,
    command: CarrierCommand,
    request: CarriedRequest,
    connector: string,
  ): Promise<CarrierStream> {
    try {
      // For the launcher, where one has it signed without gangway.
      carrier.outgoing.write(renderLine(request.publicKey === undefined ? request : { op: "sign", ...request }));
      const reply = parseReply(await readMarkedLine(carrier.incoming, PATIENCE_MS));
      if (reply.kind === "ready") return new CarrierStream(carrier, reply.kit, request, connector);
      const { message, exitCode, hint } = reply;
      throw new JobError(message, { exitCode, ...(hint === undefined ? {} : { hint }) });
    } catch (error) {
      carrier.close();
      if (!(error instanceof NoLineError)) throw error;
      throw failed(command, request.job, error, carrier.said());
    }
  }

  /**
   * Copies between a client program and the node's sshd.
   *
   * @returns whether the way was cut off before either of them ended the connection; the carrier has nothing more to read then, and
   *   is still to be closed
   */
  async connect(local: LocalEnd): Promise<boolean> {
    clearInterval(this.#beats);
    const { incoming, outgoing } = this.#carrier;
    const { silenceMs, padding = 0 } = this.#request;
    this.#copied = true;
    try {
      return await copyNear(local, { incoming, outgoing, connector: this.#connector, silenceMs, padding });
    } finally {
      this.end();
    }
  }

  /** @param then called when the other side knows that this process is about to be stopped, where it is this that beats */
  rest(then: () => void): void {
    if (this.#copied) then();
    else this.#carrier.outgoing.write(RESTING, () => then());
  }

  /** It goes on. */
  goOn(): void {
    if (!this.#copied) this.#carrier.outgoing.write(BEAT);
  }

  /** Ends the carrier; its guard stays. */
  end(): void {
    clearInterval(this.#beats);
    this.#carrier.end();
  }

  close(): void {
    this.end();
    this.#carrier.close();
  }

  /** Resolves when all of it is gone. */
  get gone(): Promise<void> {
    return this.#carrier.gone;
  }
}

/** What it said itself is all there is to go by. */
function failed({ title, notYet }: CarrierCommand, job: string, error: NoLineError, said: string): JobError {
  if (notYet?.test(said) === true) {
    return new JobError(`job ${job} cannot be entered by ${title} yet`, {
      hint: `wait for it: gangway ssh --auto-retry ${job}`,
      exitCode: STATUS.notYet,
    });
  }
  const lines = `${error.noise}\n${said}`.split("\n").map((line) => printable(line).trim());
  const told = lines.filter((line) => line !== "").slice(-TOLD_LINES);
  const words = told.length === 0 ? "" : `: ${told.join("; ")}`;
  return new JobError(`job ${job} cannot be reached by ${title}, ${error.message}${words}`, {
    hint: `does ${title} work by itself, and is the same gangway installed on the job's host?`,
    exitCode: STATUS.unreachable,
  });
}
