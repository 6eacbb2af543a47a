import { GangwayError } from "../config/errors.ts";
import { checkHost, hasControl, isAddress, quoted } from "./names.ts";

/** Default place of the run directory in a container. */
export const RUN_DIRECTORY = "/run/gangway";

export interface JobConfigNode {
  /** Every name and address the node is connected to by. */
  readonly names: readonly string[];
  /** 1 to 65535, or 0 for a node that does not listen on TCP: it gets no block. */
  readonly port: number;
}

export interface JobConfigOptions {
  /** Name of the job's user. */
  readonly user: string;
  readonly nodes: readonly JobConfigNode[];
  /** The job's host name, `JOB.job`: names that end in it need not be written one by one where all nodes have one port. */
  readonly job?: string;
  /** Default `/run/gangway`. */
  readonly runDirectory?: string;
}

/**
 * What `ssh` inside a node reads before anything else: the job's own hosts, one block for each port.
 *
 * A block ends with `GangwayFinal yes`, upon which our ssh opens no further configuration file for this host. So nothing
 * a user's or an image's file says can reach these hosts, and only that is set whose default would be wrong.
 *
 * Names stand in `Match originalhost`: a `Host` line of 30,000 names takes 60 times as long. Each hop reads them all, so of
 * each node's `NODE.JOB.job` only the pattern is there, if it can be: of ten thousand names that is half the time.
 *
 * @throws GangwayError if a name, a port or the user's name cannot stand in the file
 */
export function renderJobConfig({ user, nodes, job, runDirectory = RUN_DIRECTORY }: JobConfigOptions): string {
  const byPort = new Map<number, Set<string>>();
  for (const { names, port } of nodes) {
    if (port === 0) continue;
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new GangwayError(`${port} is not a TCP port`);
    const known = byPort.get(port) ?? new Set();
    for (const name of names) known.add(checkHost(name));
    byPort.set(port, known);
  }
  const listening = [...byPort].filter(([, names]) => names.size > 0);
  const alike = nodes.every(({ port }) => port === nodes[0]?.port);
  const suffix = alike && job !== undefined ? `.${checkHost(job)}` : undefined;
  const blocks = listening.map(([port, names]) =>
    block(`Match originalhost ${patterns(names, suffix).join(",")}`, [
      ["User", userName(user)],
      ["Port", String(port)],
      ["IdentityFile", configPath(`${runDirectory}/id_ed25519`)],
      ["CertificateFile", configPath(`${runDirectory}/id_ed25519-cert.pub`)],
      // Not what an agent holds: six of its keys and the server has had enough.
      ["IdentitiesOnly", "yes"],
      // Nobody is there to be asked for a password.
      ["PreferredAuthentications", "publickey"],
      ["UserKnownHostsFile", configPath(`${runDirectory}/known_hosts`)],
      ["GlobalKnownHostsFile", "/dev/null"],
      ["StrictHostKeyChecking", "yes"],
      ["UpdateHostKeys", "no"],
      // Four times as fast as the first of the defaults.
      ["Ciphers", "^aes128-gcm@openssh.com"],
      ["GangwayFinal", "yes"],
    ]),
  );
  return ["# Made by gangway: the hosts of this job. Read before every other configuration.\n", ...blocks].join("\n");
}

/** The names; one pattern for all that end in the suffix. */
function patterns(names: ReadonlySet<string>, suffix: string | undefined): readonly string[] {
  if (suffix === undefined) return [...names];
  const others = [...names].filter((name) => !name.endsWith(suffix));
  return others.length === names.size ? others : [`*${suffix}`, ...others];
}

/** Seconds until a node has to have said who it is. */
const CONNECT_TIMEOUT_S = 60;

declare const typed: unique symbol;
/** A name as it was typed, that is no pattern of ssh_config's. */
export type TypedName = string & { readonly [typed]: true };

export function isTypedName(text: string): text is TypedName {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

/** What stands for a job in the words of a client program; `*`: any name. */
export type Placeholder = "remote" | "*" | TypedName;

export interface KitNode {
  /** What the user types: `JOB.job` for the head, `NODE.JOB.job`, further aliases. */
  readonly names: readonly string[];
  /** Only for a file that is read for this one job. */
  readonly placeholders?: readonly Placeholder[];
  /** The principal of the node's host certificate that it is checked against. */
  readonly principal: string;
  /** Absolute path, on the node's host, of the unix socket on which its init listens. */
  readonly socket: string;
  /** Of TCP, for who comes through another node (`ssh -J`); 0: it does not listen. */
  readonly port: number;
  /** IPv4 or IPv6, where the job has several hosts: the way from the others, with the port. */
  readonly address?: string;
}

export interface KitConfigOptions {
  readonly user: string;
  readonly nodes: readonly KitNode[];
  /** Absolute path of the connector. */
  readonly connector: string;
  /** Absolute paths of the kit's files. */
  readonly identity: string;
  readonly certificate: string;
  readonly knownHosts: string;
  /** Every ssh that will read it is 9.2 or later, where `~C` does nothing unless it is asked for. */
  readonly escapeCommandline?: boolean;
  /**
   * The uid that listens, where it is root who goes into another user's job: then nothing of root's is lent to the job by
   * default, and nobody is asked for a passphrase, since the key is that user's file.
   */
  readonly owner?: number;
  /**
   * The job's host, where the file is also read on hosts that do not have the kit: there the connector says where the job
   * is, and ssh gets no further.
   */
  readonly runsOn?: string;
}

const FOR_ROOT: readonly (readonly [string, string])[] = [
  ["BatchMode", "yes"],
  ["ForwardAgent", "no"],
  ["ForwardX11", "no"],
];

/**
 * The access kit's ssh_config for the hosts on which the nodes' containers run: by the unix socket, without a network, and
 * from one host of the job to another by TCP.
 *
 * Any OpenSSH from 8.0 reads it, either with `-F` or by an `Include` at the top of the user's own file. There the first
 * value wins, and for what is not set here the user's file still speaks: so whatever in it could turn the connection,
 * the host check or the log-in elsewhere is set here. Options younger than 8.0 are not written, since an unknown one ends
 * ssh (and an `IgnoreUnknown` of ours would take away the user's own).
 *
 * @throws GangwayError if a name or path cannot stand in the file
 */
export function renderKitConfig(options: KitConfigOptions): string {
  return [...kitConfigPieces(options)].join("");
}

/** {@link renderKitConfig} piece by piece, a block each: of ten thousand nodes it has 24 MB. */
export function* kitConfigPieces(options: KitConfigOptions): Generator<string> {
  const { owner } = options;
  const connector = [proxyWord(options.connector), ...connectorOptions(options)].join(" ");
  const alike = directiveLines([
    ...settled(options),
    ...(options.escapeCommandline === true ? [["EnableEscapeCommandline", "yes"] as const] : []),
    ...(owner === undefined ? [] : FOR_ROOT),
  ]);
  yield "# Made by gangway: how to reach this job from this host. Gone when the job is.\n";
  for (const { names, placeholders = [], principal, socket, port, address } of options.nodes) {
    checkHost(principal);
    // `Host` compares letter by letter; people type small ones.
    const hosts = new Set(names.flatMap((name) => [checkHost(name), name.toLowerCase()]));
    if (hosts.size + placeholders.length === 0) throw new GangwayError(`${principal} has no name to be reached by`);
    const own = block(`Host ${[...hosts, ...placeholders].join(" ")}`, [
      ["ProxyCommand", [connector, proxyWord(socket), ...tcpWords({ address, port })].join(" ")],
      ["ProxyUseFdpass", "yes"],
      // A frozen node takes the connection and says nothing; without this ssh would wait for ever. It stands before what the
      // user's file says, so it is ample; the command line stands before it. Nobody types a password on this way.
      ["ConnectTimeout", String(CONNECT_TIMEOUT_S)],
      ...(port === 0 ? [] : [["Port", String(port)] as const]),
      // Where it is an OpenSSH's first choice (9.0 to 9.8) it takes two thirds of a session's time, against whoever records
      // a network now to break it later: here there is no network. The pattern is also good for those that do not know it.
      ...(address === undefined ? [["KexAlgorithms", "-sntrup761*"] as const] : []),
      ...spokenTo(principal),
    ]);
    yield `\n${own}${alike}`;
  }
}

function connectorOptions({ owner, runsOn, identity }: KitConfigOptions): string[] {
  return [
    ...(owner === undefined ? [] : ["--owner", String(owner)]),
    ...(runsOn === undefined ? [] : ["--kit", proxyWord(identity), checkHost(runsOn)]),
  ];
}

/**
 * ADDRESS PORT as the connector takes them: the address is a literal.
 *
 * @returns nothing where there is no address
 * @throws GangwayError for what is none
 */
export function tcpWords({
  address,
  port,
}: {
  readonly address?: string | undefined;
  readonly port: number;
}): string[] {
  if (address === undefined) return [];
  if (isAddress(address) && Number.isInteger(port) && port >= 1 && port <= 65_535) return [address, String(port)];
  throw new GangwayError(`${quoted(`${address} port ${port}`)} is no place that a TCP connection can go to`);
}

/**
 * A block for all nodes of a job that includes a file, if it is there; ssh passes over one that is not.
 *
 * @param hosts patterns
 * @param file absolute path; Include reads it as a pattern, so it must have nothing of one
 */
export function renderInclude(hosts: readonly string[], file: string): string {
  checkPath(file);
  return block(`Host ${hosts.join(" ")}`, [["Include", word(file)]]);
}

/** What a client outside of the job needs for one of its nodes, but for the way to it. */
export interface ClientRequest {
  readonly user: string;
  /** Of the node's host certificate. */
  readonly principal: string;
  /** Absolute paths. */
  readonly identity: string;
  readonly certificate: string;
  readonly knownHosts: string;
}

/**
 * The directives that settle who is spoken to and who speaks, whatever a configuration read later says.
 *
 * @throws GangwayError if a name or path cannot stand in the file
 */
export function clientDirectives(request: ClientRequest): (readonly [string, string])[] {
  return [...spokenTo(request.principal), ...settled(request)];
}

function spokenTo(principal: string): (readonly [string, string])[] {
  const host = checkHost(principal).toLowerCase();
  return [
    // ssh looks an alias up in small letters; host certificates name their principals so.
    ["HostName", host],
    ["HostKeyAlias", host],
  ];
}

/** What is the same for every node of a job. */
function settled(request: Omit<ClientRequest, "principal">): (readonly [string, string])[] {
  return [
    ["User", userName(request.user)],
    ["IdentityFile", configPath(request.identity)],
    ["CertificateFile", configPath(request.certificate)],
    ["UserKnownHostsFile", configPath(request.knownHosts)],
    ...SETTLED,
  ];
}

/** The part of {@link clientDirectives} that is the same for every job: only what OpenSSH 8.0 knows. */
export const SETTLED: readonly (readonly [string, string])[] = [
  ["IdentitiesOnly", "yes"],
  // A key in an agent would outlive the job.
  ["AddKeysToAgent", "no"],
  ["PubkeyAuthentication", "yes"],
  ["PreferredAuthentications", "publickey"],
  // The name that every version has; newer ones say PubkeyAcceptedAlgorithms.
  ["PubkeyAcceptedKeyTypes", "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519"],
  ["GlobalKnownHostsFile", "/dev/null"],
  ["StrictHostKeyChecking", "yes"],
  ["HostKeyAlgorithms", "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519"],
  ["CASignatureAlgorithms", "ssh-ed25519"],
  ["RevokedHostKeys", "none"],
  ["VerifyHostKeyDNS", "no"],
  ["CheckHostIP", "no"],
  ["UpdateHostKeys", "no"],
  ["CanonicalizeHostname", "no"],
  ["RemoteCommand", "none"],
  ["PermitLocalCommand", "no"],
  ["Ciphers", "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr"],
  ["Compression", "no"],
];

/** A block of ssh_config. */
export function block(head: string, directives: readonly (readonly [string, string])[]): string {
  return `${head}\n${directiveLines(directives)}`;
}

function directiveLines(directives: readonly (readonly [string, string])[]): string {
  return directives.map(([name, value]) => `  ${name} ${value}\n`).join("");
}

/**
 * A user's name as a word of ssh_config. `%` and `${` are expanded in it by some versions and not by others, quotes and
 * backslashes before them likewise read in two ways: a name with these is refused instead of written wrongly.
 */
function userName(name: string): string {
  if (name === "" || hasControl(name) || /["'%]|\$\{|\\\\|\\$/.test(name))
    throw new GangwayError(`the user name ${quoted(name)} cannot be written into an ssh configuration`);
  return word(name);
}

/** An absolute path as a word of ssh_config in which `%` and `${…}` are expanded and `~` stands first. */
export function configPath(file: string): string {
  checkPath(file);
  if (file.includes("${"))
    throw new GangwayError(`the path ${quoted(file)} cannot be written into an ssh configuration`, {
      hint: "ssh would expand the ${ in it; choose another directory",
    });
  return word(file.replaceAll("%", "%%"), /[\\"]/g);
}

/** Quoted only where needed; within quotes `escaped` characters get a backslash. */
function word(text: string, escaped?: RegExp): string {
  if (/^[A-Za-z0-9_./+@%,:-]+$/.test(text)) return text;
  return `"${escaped === undefined ? text : text.replace(escaped, "\\$&")}"`;
}

/**
 * A path as a word of a ProxyCommand, whose rest of line goes through `%` expansion and then to the user's `$SHELL -c`,
 * which may be any: single quotes are the one kind that sh, csh and fish agree on.
 */
export function proxyWord(file: string): string {
  checkPath(file);
  const text = file.replaceAll("%", "%%");
  return /^[A-Za-z0-9_./+@%,:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function checkPath(file: string): void {
  if (file.startsWith("/") && !hasControl(file)) return;
  throw new GangwayError(`the path ${quoted(file)} cannot be written into an ssh configuration`, {
    hint: "it must be absolute and have no control characters",
  });
}
