import { hostname } from "node:os";
import { type Allocation, type Surroundings, virtualNodes } from "../allocation/allocation.ts";
import { allocationOf, detectManager, type WhichManager } from "../allocation/detect.ts";
import { hostsInFile, listedHosts } from "../allocation/explicit.ts";
import { UsageError } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";

/** What the user said about the nodes of a job. */
export interface NodeRequest {
  readonly wlm: WhichManager;
  /** `--nodes`: so many virtual ones. */
  readonly virtual?: number;
  /** Of a virtual node. */
  readonly slots: number;
  /** `--hosts`: a hostlist. */
  readonly hosts?: string;
  /** `--hostfile`: the path of a file with a host a line. */
  readonly hostfile?: string;
}

/** What the workload managers are asked by, as this process sees it; files are opened with the rights of the job's user. */
export function surroundingsOf(identity: Identity): Surroundings {
  return {
    env: process.env,
    hostname: hostname(),
    readFile: (path) => asUser(identity, () => readOwnFile(path, undefined)),
  };
}

/**
 * The nodes a job is launched on: those the user named; else so many virtual ones, where a number was said; else those
 * the workload manager gave; else one virtual node. A manager's job gives its id to all but hosts named by hand.
 *
 * @throws GangwayError when a manager's word or the user's cannot be understood
 */
export function allocate(request: NodeRequest, surroundings: Surroundings): Allocation {
  const { virtual, slots } = request;
  const ways = [virtual, request.hosts, request.hostfile].filter((way) => way !== undefined);
  if (ways.length > 1) {
    throw new UsageError("--nodes, --hosts and --hostfile each name the nodes", { hint: "give one of them" });
  }
  const named = namedHosts(request, surroundings);
  if (named !== undefined) return named;
  const manager = detectManager(request.wlm, surroundings);
  if (manager === undefined) return virtualNodes(virtual ?? 1, slots);
  if (virtual !== undefined) return { ...virtualNodes(virtual, slots), job: manager.job(surroundings) };
  return allocationOf(manager, surroundings);
}

function namedHosts({ hosts, hostfile }: NodeRequest, surroundings: Surroundings): Allocation | undefined {
  if (hosts !== undefined) return listedHosts(hosts, { kind: "flag", name: "--hosts" });
  if (hostfile !== undefined) return hostsInFile(surroundings, hostfile, { kind: "flag", name: "--hostfile" });
  return undefined;
}
