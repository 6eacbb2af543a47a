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
  /** Names and addresses it is connected to by. */
  readonly names: readonly string[];
  readonly port: number;
  /** The host key's line. */
  readonly publicKey: string;
}

/**
 * A known_hosts file for clients that know no certificates (Dropbear's dbclient, paramiko, ssh2): plain keys, under each
 * name once as `host` and once as `[host]:port`, a line each, since some clients read only the one form and some only
 * the other.
 */
export function renderPlainKnownHosts(hosts: readonly PlainHost[]): string {
  return hosts
    .flatMap(({ names, port, publicKey }) => {
      const key = keyText(publicKey);
      return names.flatMap((name) => [`${checkHost(name)} ${key}\n`, `[${name}]:${port} ${key}\n`]);
    })
    .join("");
}

/** The key alone: comments are free text, and no client needs them here. */
function keyText(line: string): string {
  const { type, blob } = parsePublicKey(line);
  return `${type} ${blob.toString("base64")}`;
}
