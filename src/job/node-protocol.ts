import type { PullProgress } from "../engine/types.ts";
import { isAddress } from "../udi/names.ts";
import { foldAddresses, foldPorts, unfoldAddresses, unfoldPorts } from "./folded-addresses.ts";
import type { Admission, Member } from "./membership.ts";
import {
  amount,
  flag,
  line,
  list,
  object,
  optional,
  type Parts,
  ProtocolError,
  type Shape,
  text,
  whole,
} from "./shape.ts";
import type { JobSpec } from "./spec.ts";
import { encodeSpec, parseSpec } from "./wire-spec.ts";

/*
 * What a launcher and the process on a host of its job say to each other over their kept connection (docs/internals.md,
 * section 11). Both are the same user's and of the same version; each still takes nothing that is not as it must be.
 */

/** The version of all that is said below, and of frames. */
export const NODE_PROTOCOL = 1;

/** Settings of the user's that are about the host itself. */
export interface HostSettings {
  readonly engine?: string;
  readonly runDirectory?: string;
  readonly udiImagePath?: string;
  readonly cacheDirectory?: string;
}

/** Who is to be believed, and what this node is believed by. */
export interface Trust {
  /** The public key line of the job's authority. */
  readonly authority: string;
  /** Certificate lines for this node's keys. */
  readonly hostCertificate: string;
  readonly userCertificate: string;
  /** Of the access kit that was made on this host. */
  readonly kitCertificate?: string;
  readonly kitKeys: readonly string[];
}

export type ToNode =
  /** Which of the nodes this is; before `launch`, which is the same for all. */
  | { readonly kind: "index"; readonly node: number }
  | {
      readonly kind: "launch";
      readonly spec: JobSpec;
      /** The launcher's process, as process.ts describes it. */
      readonly launcher: string;
      readonly settings: HostSettings;
    }
  | { readonly kind: "up" }
  /** Where all nodes are; before `membership`, and the same for all. */
  | { readonly kind: "places"; readonly places: FoldedPlaces }
  /** No trust where there is no sshd. */
  | { readonly kind: "membership"; readonly trust: Trust | null }
  /** A line for init. */
  | { readonly kind: "say"; readonly line: string }
  | { readonly kind: "revocations"; readonly list: string }
  | { readonly kind: "inspect"; readonly id: number }
  | { readonly kind: "answer"; readonly id: number; readonly line: string }
  | { readonly kind: "end"; readonly exitCode: number };

/** Where the nodes are, in a few words for ten thousand of them. */
export interface FoldedPlaces {
  readonly addresses: string;
  readonly ports: string;
}

export type ToLauncher =
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "pull"; readonly image: string; readonly progress: PullProgress }
  | {
      readonly kind: "planned";
      /** The kind of that node's engine, in words. */
      readonly engine: string;
      readonly image: string;
      readonly command: readonly string[];
      readonly workdir: string;
    }
  | {
      readonly kind: "prepared";
      readonly hostKey: string;
      readonly userKey: string;
      /** The launcher made the job's directory on this host. */
      readonly joined: boolean;
    }
  | {
      readonly kind: "up";
      readonly port: number;
      readonly addresses: readonly string[];
      readonly network: string;
      /** Of the owner's access kit there, which is made while the engine starts the container. */
      readonly kitKey?: string;
    }
  | { readonly kind: "answered" }
  /** A line of init's. */
  | { readonly kind: "heard"; readonly line: string }
  /** Init is gone. */
  | { readonly kind: "closed" }
  | {
      readonly kind: "failed";
      readonly message: string;
      readonly hint?: string;
      readonly exitCode: number;
      /** There is a job of that name on its host: another name may do. */
      readonly taken: boolean;
    }
  /** The process was sent a signal. */
  | { readonly kind: "signalled"; readonly signal: number }
  /** Bytes of the command's output that were passed on, all of it. */
  | { readonly kind: "output"; readonly stdout: number; readonly stderr: number }
  | { readonly kind: "inspected"; readonly id: number; readonly engineWent: boolean; readonly outOfMemory: boolean }
  | { readonly kind: "ask"; readonly id: number; readonly line: string }
  /** Nothing of the job is left on this host. */
  | { readonly kind: "ended" };

/** The kind is read first: it says which of the shapes counts. */
type Shapes<M extends { readonly kind: string }> = {
  readonly [K in M["kind"]]: Parts<Omit<Extract<M, { kind: K }>, "kind">>;
};

const ID = whole(0, Number.MAX_SAFE_INTEGER);
const SIGNAL = whole(1, 64);

/** It becomes part of every node's configuration. */
const address: Shape<string> = (value, place) => {
  const written = text(value, place);
  if (!isAddress(written)) throw new ProtocolError(`${place} is no address`);
  return written;
};

const trust: Shape<Trust | null> = (value, place) =>
  value === null
    ? null
    : object<Trust>({
        authority: line,
        hostCertificate: line,
        userCertificate: line,
        kitCertificate: optional(line),
        kitKeys: list(line),
      })(value, place);

const toNode: Shapes<ToNode> = {
  index: { node: ID },
  launch: {
    spec: parseSpec,
    launcher: text,
    settings: object<HostSettings>({
      engine: optional(text),
      runDirectory: optional(text),
      udiImagePath: optional(text),
      cacheDirectory: optional(text),
    }),
  },
  up: {},
  places: { places: object<FoldedPlaces>({ addresses: text, ports: text }) },
  membership: { trust },
  say: { line: text },
  revocations: { list: text },
  inspect: { id: ID },
  answer: { id: ID, line: text },
  end: { exitCode: whole(0, 255) },
};

const toLauncher: Shapes<ToLauncher> = {
  note: { text },
  pull: {
    image: text,
    progress: object<PullProgress>({ layer: text, status: text, current: optional(amount), total: optional(amount) }),
  },
  planned: { engine: line, image: text, command: list(text), workdir: text },
  prepared: { hostKey: line, userKey: line, joined: flag },
  up: { port: whole(0, 65_535), addresses: list(address), network: text, kitKey: optional(line) },
  answered: {},
  heard: { line: text },
  closed: {},
  failed: { message: text, hint: optional(text), exitCode: whole(1, 255), taken: flag },
  signalled: { signal: SIGNAL },
  output: { stdout: amount, stderr: amount },
  inspected: { id: ID, engineWent: flag, outOfMemory: flag },
  ask: { id: ID, line: text },
  ended: {},
};

function parserOf<M extends { readonly kind: string }>(shapes: Shapes<M>): (message: unknown) => M {
  const kind = object<{ kind: string }>({ kind: text });
  return (message) => {
    const { kind: word } = kind(message, "message");
    if (!Object.hasOwn(shapes, word)) throw new ProtocolError(`a message of kind ${JSON.stringify(word.slice(0, 40))}`);
    const parts = shapes[word as M["kind"]] as Parts<object>;
    return { kind: word, ...object(parts)(message, word) } as unknown as M;
  };
}

/** @throws ProtocolError for what no launcher of this version says */
export const parseToNode: (message: unknown) => ToNode = parserOf(toNode);
/** @throws ProtocolError for what no node process of this version says */
export const parseToLauncher: (message: unknown) => ToLauncher = parserOf(toLauncher);

/** A message as JSON can have it. */
export function encodeToNode(message: ToNode): object {
  return message.kind === "launch" ? { ...message, spec: encodeSpec(message.spec) } : message;
}

export function foldPlaces(members: readonly Member[]): FoldedPlaces {
  return {
    addresses: foldAddresses(members.map(({ address }) => address)),
    ports: foldPorts(members.map(({ port }) => port)),
  };
}

/** All nodes of a job as their places say, in the order of the allocation. */
export function membersAt(spec: JobSpec, { addresses, ports }: FoldedPlaces): Member[] {
  const { nodes } = spec.allocation;
  const unfolded = unfoldAddresses(addresses, nodes.length);
  const listening = unfoldPorts(ports, nodes.length);
  return nodes.map((node, index) => {
    const address = unfolded[index] ?? "";
    return { node, address, ownAddresses: [address], port: listening[index] ?? 0, addresses: [address] };
  });
}

/** What the node of that index is admitted by. */
export function admissionOf(trust: Trust, members: readonly Member[], node: number): Admission {
  const { authority, hostCertificate, userCertificate, kitKeys } = trust;
  return {
    authority,
    members,
    certificates: new Map([[node, { host: hostCertificate, user: userCertificate }]]),
    kitKeys,
  };
}
