import { JobError, STATUS } from "../config/errors.ts";
import { isAddress, isNodeName, parseJobHost, quoted } from "../udi/names.ts";
import { tcpWords } from "../udi/ssh-config.ts";
import { isManagerWay, type ManagerWay, type TcpPlace, WAYS } from "./ways.ts";

/** What `gangway key authorize --kit` prints: data, never configuration or shell (docs/internals.md, section 10). */
export interface KitReply {
  /** TYPE BASE64. */
  readonly certificate: string;
  /** The job's authority: TYPE BASE64. */
  readonly authority: string;
  /** The principal of the node's host certificate. */
  readonly principal: string;
  readonly user: string;
  /** Paths on the node's host. */
  readonly socket: string;
  readonly connector: string;
  /** The job's host, where it is another one that the asked one goes to by ssh. */
  readonly through?: string;
  /** Where the node is on another host than the answering one: the connector there is given this beside the socket's path. */
  readonly relay?: TcpPlace;
  /** The answering host's workload manager leads to the node: the way goes on by `gangway proxy` there. */
  readonly carried?: ManagerWay;
  readonly tcp: readonly TcpPlace[];
}

/** Bytes of a whole reply: more than one has in it. */
export const LONGEST_REPLY = 20_000;
const BASE64 = "[A-Za-z0-9+/]{40,16000}={0,2}";
const CERTIFICATE = new RegExp(`^(ssh-ed25519-cert-v01@openssh\\.com ${BASE64})(?: .*)?$`);
const AUTHORITY = new RegExp(`^(ssh-ed25519 ${BASE64})(?: .*)?$`);
const USER = /^[A-Za-z0-9_.][A-Za-z0-9_.@+-]{0,254}$/;
/** A host of a cluster, as ssh there is given it: no user, no port. */
const HOST = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;
/** They become words of a ProxyCommand, here and in the other side's shell: nothing in them is special to any. */
const PATH = /^\/[A-Za-z0-9_./+@,:-]{1,4000}$/;

/**
 * Reads the reply of a host that need not be trusted: whatever it says, nothing of it becomes more than a key, a name or
 * a path. Lines with other keywords are passed over: a newer gangway may print them.
 *
 * @throws JobError (exit status 76) that names the line that is not what it should be
 */
export function parseKitReply(text: string): KitReply {
  if (text.length > LONGEST_REPLY) throw bad("it is too long");
  const values = new Map<string, string[]>();
  for (const line of text.split(/\r?\n/)) {
    const blank = line.indexOf(" ");
    if (blank === -1) continue;
    const keyword = line.slice(0, blank);
    values.set(keyword, [...(values.get(keyword) ?? []), line.slice(blank + 1)]);
  }
  const one = (keyword: string, form: RegExp): string => {
    const [value, second] = values.get(keyword) ?? [];
    if (value === undefined) throw bad(`it has no line "${keyword}"`);
    const match = second === undefined ? form.exec(value) : null;
    if (match === null) throw bad(`its line "${keyword}" says ${quoted(value)}`);
    return match[1] ?? value;
  };
  const principal = one("host", /^[A-Za-z0-9_.+-]+$/);
  const named = parseJobHost(principal);
  if (named?.node === undefined) throw bad(`its line "host" says ${quoted(principal)}`);
  return {
    certificate: one("certificate", CERTIFICATE),
    authority: one("authority", AUTHORITY),
    principal,
    user: one("user", USER),
    socket: one("socket", PATH),
    connector: one("connector", PATH),
    ...(values.has("through") ? { through: one("through", HOST) } : {}),
    ...(values.has("relay") ? { relay: relayAddress(one("relay", /^[0-9A-Fa-f.:]{2,45} \d{1,5}$/)) } : {}),
    ...(values.has("carried") ? { carried: managerWay(one("carried", /^[a-z]+$/)) } : {}),
    tcp: (values.get("tcp") ?? []).map((text) => tcpAddress(text, "tcp")),
  };
}

/** The other way round. */
export function renderKitReply(reply: KitReply): string {
  const { certificate, authority, principal, user, socket, connector, through, relay, carried, tcp } = reply;
  const lines = [
    `certificate ${certificate}`,
    `authority ${authority}`,
    // As it stands in the certificate.
    `host ${principal.toLowerCase()}`,
    `user ${user}`,
    `socket ${socket}`,
    `connector ${connector}`,
    ...(through === undefined ? [] : [`through ${through}`]),
    ...(relay === undefined ? [] : [`relay ${tcpWords(relay).join(" ")}`]),
    ...(carried === undefined ? [] : [`carried ${carried}`]),
    ...tcp.map(({ address, port }) => `tcp ${address} ${port}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** It becomes words of a ProxyCommand: a literal. */
function relayAddress(text: string): TcpPlace {
  const place = tcpAddress(text, "relay");
  if (isAddress(place.address)) return place;
  throw bad(`its line "relay" says ${quoted(text)}`);
}

function managerWay(text: string): ManagerWay {
  const way = WAYS.find((known) => known === text);
  if (isManagerWay(way)) return way;
  throw bad(`its line "carried" says ${quoted(text)}`);
}

function tcpAddress(text: string, keyword: string): TcpPlace {
  const [address = "", port = "", more] = text.split(" ");
  const number = Number(port);
  const isPort = /^\d{1,5}$/.test(port) && number >= 1 && number <= 65_535;
  if (more !== undefined || !(isAddress(address) || isNodeName(address)) || !isPort) {
    throw bad(`its line "${keyword}" says ${quoted(text)}`);
  }
  return { address, port: number };
}

function bad(what: string): JobError {
  return new JobError(`the other host's answer is not understood: ${what}`, {
    hint: "is gangway there of another version, or does a start-up file there print something?",
    exitCode: STATUS.unreachable,
  });
}
