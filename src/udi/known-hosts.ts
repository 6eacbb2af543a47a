import { GangwayError } from "../config/errors.ts";
import { checkHost } from "./names.ts";
import { parsePublicKey } from "./public-keys.ts";

/**
 * The known_hosts file of a job's nodes: one line that trusts the job's authority, whatever the size of the allocation.
 * No plain host keys stand beside it: they would make an expired certificate harmless.
 *
 * @param authority the authority's public key line
 * @param patterns hosts it may speak for, as known_hosts patterns; "*" (the default) inside a job, where the file is
 *   used for the job's hosts alone
 * @throws GangwayError if the key cannot be read or a pattern is no host
 */
export function renderKnownHosts(authority: string, patterns: readonly string[] = ["*"]): string {
  if (patterns.length === 0) throw new GangwayError("an authority in known_hosts needs a host it may speak for");
  const hosts = patterns.map((pattern) => (pattern === "*" ? pattern : checkHost(pattern)));
  return `@cert-authority ${hosts.join(",")} ${keyText(authority)}\n`;
}

export interface PlainHost {
  /** What it is called where no port belongs to the name: by the unix socket. */
  readonly names: readonly string[];
  /** What it is connected to by over TCP. */
  readonly addresses: readonly string[];
  /** 0: it does not listen on TCP. */
  readonly port: number;
  /** The host key's line. */
  readonly publicKey: string;
}

/**
 * A known_hosts file for clients that know no certificates (Dropbear's dbclient, paramiko, ssh2): plain keys, under each
 * name, and under each address once as `ADDRESS` and once as `[ADDRESS]:PORT`, a line each, since some clients read only
 * the one form and some only the other. An address that several nodes share with a port each is no name of any of them:
 * there the form with the port alone is written.
 *
 * @throws GangwayError if a key cannot be read or a name is no host
 */
export function renderPlainKnownHosts(hosts: readonly PlainHost[]): string {
  const owners = new Map<string, number>();
  for (const { addresses } of hosts)
    for (const address of new Set(addresses)) owners.set(address, (owners.get(address) ?? 0) + 1);
  return hosts
    .flatMap(({ names, addresses, port, publicKey }) => {
      const key = keyText(publicKey);
      const alone = addresses.filter((address) => owners.get(address) === 1);
      const withPort = port === 0 ? [] : [...names, ...addresses].map((name) => `[${checkHost(name)}]:${port}`);
      return [...new Set([...names.map(checkHost), ...alone.map(checkHost), ...withPort])].map(
        (host) => `${host} ${key}\n`,
      );
    })
    .join("");
}

/** The key alone: comments are free text, and no client needs them here. */
function keyText(line: string): string {
  const { type, blob } = parsePublicKey(line);
  return `${type} ${blob.toString("base64")}`;
}
