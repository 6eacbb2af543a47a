import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GangwayError, JobError, STATUS } from "../config/errors.ts";
import type { Places } from "../config/paths.ts";
import { printable } from "../config/printable.ts";
import type { ExecStream } from "../engine/exec.ts";
import type { ForeignContainer, ForeignContainers } from "../engine/foreign.ts";
import { findContainer, startFailure } from "../job/inject.ts";
import { injectOf } from "../job/inject-tree.ts";
import { connectorOf } from "../job/kit.ts";
import { signCertificate } from "../udi/certificates.ts";
import { generateAuthority, generateKeyPair } from "../udi/keys.ts";
import { renderPlainKnownHosts } from "../udi/known-hosts.ts";
import { checkHost } from "../udi/names.ts";
import { block, clientDirectives, type Placeholder, proxyWord } from "../udi/ssh-config.ts";
import { assembleConfig, hasUserConfig } from "./entry-config.ts";
import type { Entry } from "./entry-request.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import { NoFirstLine, readFirstLine, serveStream } from "./stream-way.ts";

/** The one account that an injected sshd knows, whatever the container's files call its user (udiImage/cures). */
const ACCOUNT = "gangway";
/** A container may be short of cpu. */
const FIRST_LINE = { bytes: 4096, patienceMs: 60_000 };

export interface InjectedRequest {
  readonly engine: ForeignContainers;
  readonly container: ForeignContainer;
  /** Where our tree is in it. */
  readonly tree: string;
  /** As the engine takes it; undefined: the container's own. */
  readonly user: string | undefined;
  readonly udiImage: string;
  readonly places: Places;
  /** The setting runDirectory. */
  readonly runDirectory: string | undefined;
  /** Whether to wait at the end until the sshd is gone from the container, which takes a moment. */
  readonly untilGone: boolean;
  /** `-F FILE` of the user's. */
  readonly userConfig?: string | undefined;
  /** What stands for the container in the words of a client program that takes its hosts from them. */
  readonly placeholders: readonly Placeholder[];
}

/**
 * Starts an sshd in a container that has the tree, and runs work with what enters it.
 *
 * The authority is made for this one sshd, which is told its public key on its command line; the session's key is signed
 * by it here, and gone with the directory. The sshd's host key is told by the engine's stream, which nobody else can write.
 *
 * @throws JobError where no sshd comes up
 */
export async function withInjectedEntry<T>(request: InjectedRequest, work: (entry: Entry) => Promise<T>): Promise<T> {
  const { engine, container, tree, user, places, runDirectory } = request;
  const authority = generateAuthority("");
  const stream = await engine.execute(container.id, {
    argv: [injectOf(tree), "session", authority.publicKey],
    ...(user === undefined ? {} : { user }),
  });
  try {
    return await withPrivateDirectory(places, runDirectory, async (directory) => {
      const hostKey = await readHostKey(container.name, tree, stream);
      const socket = join(directory, "stream");
      const stop = await serveStream(socket, stream);
      try {
        const host = hostOf(container);
        const { udiImage, placeholders, userConfig } = request;
        const network = engine.endpoint.dial !== undefined;
        const base = sessionFiles({ directory, authority, hostKey, host, socket, udiImage, placeholders, network });
        return await work({
          configFile: assembleConfig({ host, placeholders, base, userConfig }, directory),
          host,
          user: ACCOUNT,
          udiImage,
          ours: !hasUserConfig(userConfig),
          spawning: {},
          explain: async (interrupted) => {
            const said = complaintOf(stream);
            if (said !== undefined) throw refusedInside(container, said);
            if (interrupted === undefined) await stillThere(engine, container);
          },
        });
      } finally {
        stop();
      }
    });
  } finally {
    stream.destroy();
    if (request.untilGone) await stream.exitCode();
  }
}

/** @throws JobError */
async function readHostKey(name: string, tree: string, stream: ExecStream): Promise<string> {
  let line: string;
  try {
    line = await readFirstLine(stream, FIRST_LINE);
  } catch (error) {
    if (error instanceof NoFirstLine) throw startFailure(name, tree, stream, error.said);
    throw error;
  }
  const key = /^gangway-inject 1 (ssh-ed25519 [A-Za-z0-9+/]+={0,2}) ?$/.exec(line)?.[1];
  if (key !== undefined) return key;
  // Of another version, or an engine's word that the program cannot be executed.
  throw startFailure(name, tree, stream, line);
}

/** Its processes end first, and only then the engine says so. */
const LOOKS = 10;
const LOOK_MS = 100;

/** @throws JobError where the container has ended, or was paused or removed, meanwhile */
async function stillThere(engine: ForeignContainers, { id, name }: ForeignContainer): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    await findContainer(engine, id).catch((error: unknown) => {
      if (!(error instanceof JobError) || error.exitCode !== STATUS.noSuchJob) throw error;
      throw new JobError(`container ${name} has been removed`, { exitCode: STATUS.ended, cause: error });
    });
    await sleep(LOOK_MS);
  }
}

interface FilesRequest {
  readonly directory: string;
  readonly authority: ReturnType<typeof generateAuthority>;
  readonly hostKey: string;
  readonly host: string;
  readonly socket: string;
  readonly udiImage: string;
  readonly placeholders: readonly Placeholder[];
  /** Whether the engine is reached over one. */
  readonly network: boolean;
}

/** @returns the configuration's path */
function sessionFiles(request: FilesRequest): string {
  const { directory, authority, hostKey, host, socket, udiImage, placeholders, network } = request;
  const file = (name: string, content: string) => {
    const path = join(directory, name);
    writeFileSync(path, content, { flag: "wx", mode: 0o600 });
    chmodSync(path, 0o600);
    return path;
  };
  const key = generateKeyPair("gangway session");
  const certificate = signCertificate(authority, {
    kind: "user",
    publicKey: key.blob,
    keyId: `inject-${host}`,
    serial: 1n,
    // sshd lets in whose certificate names the account.
    principals: [ACCOUNT],
  });
  const directives = clientDirectives({
    user: ACCOUNT,
    principal: host,
    identity: file("id_ed25519", key.privateKey),
    certificate: file("id_ed25519-cert.pub", `${certificate}\n`),
    knownHosts: file(
      "known_hosts",
      renderPlainKnownHosts([{ names: [host], addresses: [], port: 0, publicKey: hostKey }]),
    ),
  });
  const way = [
    ["ProxyCommand", `${proxyWord(connectorOf(udiImage))} ${proxyWord(socket)}`],
    ["ProxyUseFdpass", "yes"],
    // As in an access kit: what withstands a quantum computer takes two thirds of a session's time, and there is no network.
    ...(network ? [] : [["KexAlgorithms", "-sntrup761*"] as const]),
  ] as const;
  return file("ssh_config", block(`Host ${[host, ...placeholders].join(" ")}`, [...way, ...directives]));
}

/** The container's name, in small letters as ssh has host names, where it can be one; else its id. */
function hostOf({ id, name }: ForeignContainer): string {
  try {
    return checkHost(name.toLowerCase());
  } catch (error) {
    if (error instanceof GangwayError) return id.slice(0, 12);
    throw error;
  }
}

/** Nothing where somebody logged in: what failed then was the connection, and ssh has said so. */
function complaintOf({ complaints }: ExecStream): string | undefined {
  if (/^Accepted publickey/m.test(complaints)) return undefined;
  const lines = complaints.split("\n").map((line) => printable(line).trim());
  return lines.filter((line) => line !== "").at(-1);
}

/** ssh failed, and the sshd in the container says why. */
function refusedInside({ name }: ForeignContainer, complaint: string): JobError {
  return new JobError(`the sshd in container ${name} let nobody in: ${complaint}`, { exitCode: STATUS.unreachable });
}
