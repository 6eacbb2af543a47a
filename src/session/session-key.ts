import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateKeyPair, type KeyPair } from "../udi/keys.ts";
import { renderKnownHosts } from "../udi/known-hosts.ts";
import { clientDirectives } from "../udi/ssh-config.ts";
import type { KitReply } from "./kit-reply.ts";

/** A key that was born for one session. */
export interface SessionKey {
  /** The session's, private and in memory: the key is gone with it. */
  readonly directory: string;
  /** Absolute path of the private key. */
  readonly identity: string;
  /** Its line. */
  readonly publicKey: string;
}

/** Makes a file in a session's directory. @returns its path */
export function privateFile(directory: string, name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content, { flag: "wx", mode: 0o600 });
  chmodSync(path, 0o600);
  return path;
}

/** @returns the key of a session, which is nowhere but in memory yet */
export function sessionKeyPair(): KeyPair {
  return generateKeyPair("gangway session");
}

/** Makes the key of a session through another host. */
export function newKey(directory: string, { privateKey, publicKey }: KeyPair = sessionKeyPair()): SessionKey {
  return { directory, identity: privateFile(directory, "id_ed25519", privateKey), publicKey };
}

/** The directives of ssh that use such a key, with what the job's host answered for it. */
export function carriedDirectives(
  { directory, identity }: SessionKey,
  { user, principal, certificate, authority }: KitReply,
): (readonly [string, string])[] {
  return clientDirectives({
    user,
    principal,
    identity,
    certificate: privateFile(directory, "id_ed25519-cert.pub", `${certificate}\n`),
    knownHosts: privateFile(directory, "known_hosts", renderKnownHosts(authority)),
  });
}
