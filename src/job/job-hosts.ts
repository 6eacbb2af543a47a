import type { Attachment } from "../engine/types.ts";
import type { JobAuthority } from "./authority.ts";
import type { Member } from "./membership.ts";
import type { JobNode } from "./node.ts";
import type { OwnerKit } from "./owner-kit.ts";

/** What a job that is prepared says of itself. */
export interface JobFacts {
  /** argv of the command. */
  readonly command: readonly string[];
  /** In the container. */
  readonly workdir: string;
}

/** What the hosts need of the launcher. */
export interface Upward {
  /** Aborted when the launch is given up. */
  readonly signal: AbortSignal;
  /** Does what the owner asks on one of the hosts. */
  readonly answer: (line: string) => string;
  /** A process on one of the hosts got a signal, of that number, that is the job's. */
  readonly onSignal: (signal: number) => void;
}

/** Where the nodes of a job are, as the launcher leads them through the phases of a launch: this host, or others. */
export interface JobHosts {
  /** All nodes that are part of the launch. */
  readonly nodes: readonly JobNode[];
  /** Indices of those whose run directories are on this host, in the directory of the launcher; from `prepare` on. */
  readonly here: readonly number[];

  /**
   * From here on there is something to clear.
   *
   * @throws JobTakenError when there is a job of that name; nothing was made then
   */
  begin(): Promise<void>;
  /**
   * Every host has the image, and it is decided what is made of it.
   *
   * @param meanwhile that of `up`: done here already where other hosts have to be reached first; a second call of it does nothing
   * @throws GangwayError for what cannot be launched
   */
  plan(meanwhile: () => void): Promise<JobFacts>;
  /** Every container exists, every key is made. @throws GangwayError */
  prepare(): Promise<void>;
  /**
   * Every container runs, and its init has reported.
   *
   * @param meanwhile is done while the engines are busy
   * @throws GangwayError
   */
  up(meanwhile: () => void): Promise<readonly Member[]>;
  /** Every node knows the others, and this host's kit all of them. @throws GangwayError */
  admit(members: readonly Member[], authority: JobAuthority, kit: OwnerKit): Promise<void>;
  /** Every node knows where all are, and every sshd has answered. @throws GangwayError */
  answered(members: readonly Member[]): Promise<void>;
  /** Names of those that the launch waits for just now. */
  readonly missing: readonly string[];
  /** The streams of the commands, in the order of the nodes that run one. */
  readonly attachments: readonly Attachment[];

  /** Whether the engine is not the one that made the node's container. */
  engineWent(node: JobNode): Promise<boolean>;
  /** Whether all that the node's command wrote has come; to be asked when its output is at its end. */
  outputIsWhole(node: JobNode): Promise<boolean>;
  /** Whether the node's container ended because it ran out of its memory limit. */
  ranOutOfMemory(node: JobNode): Promise<boolean>;
  /** Replaces the nodes' lists of revoked keys. @throws GangwayError naming those where that failed */
  writeRevocations(list: Uint8Array): void;
  /** This process is about to be stopped, and they are not to take it for dead. @returns when they are told, at once or soon */
  rest(): Promise<void>;
  /** It goes on. */
  wake(): void;

  /**
   * Removes the containers.
   *
   * @param exitCode of the job, for those who wait for its end
   */
  end(exitCode: number): Promise<void>;
  /** Removes all that is left. */
  clear(): Promise<void>;
}
