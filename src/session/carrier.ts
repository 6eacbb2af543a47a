import { hostname } from "node:os";
import { type ErrorDetails, JobError, STATUS } from "../config/errors.ts";
import { parseJobHost, quoted } from "../udi/names.ts";
import { block, type Placeholder, proxyWord, tcpWords } from "../udi/ssh-config.ts";
import { type Carrier, checkCarrier } from "./carrier-name.ts";
import { Interrupted, runChild } from "./child.ts";
import { type KitReply, LONGEST_REPLY, parseKitReply } from "./kit-reply.ts";
import { carriedDirectives, newKey, privateFile } from "./session-key.ts";
import { sshProgram } from "./ssh-client.ts";
import { type Reading, readingsOf, wordOf } from "./target.ts";

/** Statuses of the other side's gangway that mean the same here. */
const TOLD: readonly number[] = Object.values(STATUS);

/**
 * Has a public key signed by the job's launcher, through ssh to the host where it runs, or that reaches it.
 *
 * @param options of `gangway key authorize` there: words that are the same in every shell
 * @throws JobError
 */
async function authorize(
  { host, ssh, held = false }: Carrier,
  reading: Reading,
  publicKey: string,
  options: readonly string[] = [],
): Promise<KitReply> {
  // The words are of letters, digits, `.`, `_`, `+` and `-`: the same in every shell.
  const words = ["-T", "--", host, "gangway", "key", "authorize", "--kit", ...options, wordOf(reading)];
  const { code, output, complaints, interrupted } = await runChild(
    ssh,
    words,
    { stdio: ["pipe", "pipe", held ? "pipe" : "inherit"] },
    { input: `${publicKey}\n`, limit: LONGEST_REPLY },
  );
  if (code !== NOT_REACHED) process.stderr.write(complaints);
  if (interrupted !== undefined) throw new Interrupted(interrupted);
  if (code === 0) return checkMeant(parseKitReply(output.toString("latin1")), reading, host);
  if (TOLD.includes(code)) throw new JobError(`${host} refused (said above)`, { exitCode: code });
  const reason =
    code === NOT_REACHED
      ? "ssh does not get there"
      : code === 127
        ? "there is no gangway in the PATH that ssh finds there"
        : `gangway there ended with ${code}`;
  throw new UnreachedError(
    `job ${reading.job} cannot be reached through ${host}: ${reason}`,
    { hint: `try: ssh ${host} gangway ps`, exitCode: STATUS.unreachable },
    code === NOT_REACHED ? complaints : "",
  );
}

/** Of ssh itself: the command there did not run. */
const NOT_REACHED = 255;

/** A host that ssh did not get to, or where nothing could be asked. */
export class UnreachedError extends JobError {
  /** What ssh said, and nobody has been shown yet. */
  readonly said: string;

  constructor(message: string, details: ErrorDetails, said: string) {
    super(message, details);
    this.said = said;
  }
}

/**
 * The reply is of a node of the job that was asked for, and of that node, where one was named: a host that need not be trusted
 * does not choose which names its certificates are good for.
 *
 * @param means whether another job's name may stand for the one that was asked for
 * @throws JobError (exit status 76)
 */
export function checkMeant(
  reply: KitReply,
  asked: Reading,
  host: string,
  means: (job: string) => boolean = () => false,
): KitReply {
  const told = parseJobHost(reply.principal.toLowerCase());
  const fits = readingsOf(wordOf(asked).toLowerCase()).some(
    ({ job, node }) =>
      told !== undefined &&
      (job === told.job || means(told.job)) &&
      (node === undefined || /^\d+$/.test(node) || node === told.node),
  );
  if (fits && told?.node !== undefined && told.cluster === undefined) return reply;
  throw new JobError(`${host} was asked for ${wordOf(asked)} and answered for ${quoted(reply.principal)}`, {
    hint: "nothing was sent there; is gangway there of another version?",
    exitCode: STATUS.unreachable,
  });
}

/**
 * The name under which ssh knows a node that is reached through a carrier: a ControlPath of the user's may be made of it (%h,
 * %C, %n), so no other host has it, nor the same job's name behind another carrier. It is no name of a cluster's fragment.
 */
export function carriedName(principal: string, host: string): string {
  const safe = host.replaceAll(/[^A-Za-z0-9_.]/g, (character) => `-${character.charCodeAt(0).toString(16)}`);
  return `${principal.toLowerCase()}.via.${safe}`;
}

/** The way to a job through a carrier. */
export interface CarriedJob {
  /** ssh_config for {@link name}. */
  readonly configFile: string;
  readonly name: string;
  readonly reply: KitReply;
}

/**
 * Makes a key for one session in a private directory, has it signed, and writes the configuration that uses it. The key is
 * born here and gone with the directory; what the other host says is data.
 *
 * @param directory private, in memory; it is removed by the caller
 * @param placeholders what stands for the job, besides its name
 */
export async function carry(
  carrier: Carrier,
  reading: Reading,
  directory: string,
  placeholders: readonly Placeholder[] = [],
): Promise<CarriedJob> {
  const key = newKey(directory);
  const reply = await authorize(carrier, reading, key.publicKey);
  const name = carriedName(reply.principal, carrier.host);
  const directives = carriedDirectives(key, reply);
  const configFile = privateFile(
    directory,
    "ssh_config",
    block(`Host ${[name, ...placeholders].join(" ")}`, [
      ["HostName", name],
      ["ProxyCommand", proxyCommand(carrier, reply)],
      ...directives,
    ]),
  );
  return { configFile, name, reply };
}

/**
 * The bytes' way: the user's ssh to the host, perhaps from there to the job's, and there the connector to the node's socket; or
 * from the host by its workload manager.
 */
function proxyCommand({ host, ssh }: Carrier, reply: KitReply): string {
  const { connector, socket, through, relay, carried, principal } = reply;
  if (carried !== undefined) return `${proxyWord(ssh)} -T -- ${host} gangway proxy --connect ${carried} ${principal}`;
  const relayed = relay === undefined ? [] : tcpWords(relay);
  const further = through === undefined ? "" : `ssh -T -- ${through} `;
  return `${proxyWord(ssh)} -T -- ${host} ${further}${[connector, "--stdio", socket, ...relayed].join(" ")}`;
}

/** Shows what ssh said of a way for which there is no other. */
export function tellHeld(error: unknown): void {
  if (error instanceof UnreachedError) process.stderr.write(error.said);
  else if (error instanceof Error) tellHeld(error.cause);
}

/** A key of somebody elsewhere, for a job that runs on another host than this one. */
export interface RelayRequest {
  readonly host: string;
  readonly reading: Reading;
  /** A line TYPE BASE64 COMMENT. */
  readonly publicKey: string;
  /** How long it shall be good; undefined: as the setting there says. */
  readonly seconds: number | undefined;
}

/**
 * Asks the job's host, for somebody who can reach only this one: the answer says through which host the way goes on.
 * That host answers for itself alone: two indexes that name each other would else ask for ever.
 *
 * @throws JobError that says what to do where ssh does not get there
 */
export async function relayKit({ host, reading, publicKey, seconds }: RelayRequest): Promise<KitReply> {
  const options = ["--here", ...(seconds === undefined ? [] : ["--for", `${seconds}s`])];
  try {
    const carrier = { host: checkCarrier(host), ssh: sshProgram(undefined), held: true };
    const reply = await authorize(carrier, reading, publicKey, options);
    return { ...reply, through: host };
  } catch (error) {
    if (!(error instanceof JobError) || error.exitCode !== STATUS.unreachable) throw error;
    throw new JobError(`job ${reading.job} runs on ${host}, where ${hostname()} asked in vain: ${error.message}`, {
      hint: `from ${hostname()}, \`ssh ${host} gangway ps\` must work without a question: by a key there, or by your agent (ForwardAgent); or go through ${host} itself`,
      exitCode: STATUS.unreachable,
      cause: error,
    });
  }
}
