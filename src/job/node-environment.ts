import type { AllocatedNode } from "../allocation/allocation.ts";
import { foldHostlist } from "../allocation/hostlist.ts";
import { bridgeNames } from "../rendezvous/addresses.ts";
import { composeEnvironment, type EnvSetting, unwantedNames } from "../udi/environment.ts";
import { applySite } from "../udi/site-environment.ts";
import { contains } from "./mounts.ts";
import type { Plan } from "./prepare.ts";

/** So many names stand in GANGWAY_NODELIST one by one. */
const MANY = 100;
/** Longer, it would take most of what Linux lets a program be started with (`MAX_ARG_STRLEN`, 128 KiB for one variable). */
const LONGEST_LIST = 64 * 1024;

/**
 * What the container of a node is created with: the whole environment of command and sessions, and the names of the
 * image's variables that the engine must leave out.
 *
 * @throws GangwayError where a variable cannot stand in an environment
 */
export function environmentOf(plan: Plan, node: AllocatedNode): string[] {
  const { spec, image } = plan;
  const { nodes } = spec.allocation;
  const nodeList = nodeListOf(nodes);
  const composed = composeEnvironment({
    image: image.env,
    clearImage: spec.environment.clear,
    caller: spec.environment.caller,
    envFile: spec.environment.envFile,
    env: spec.environment.env,
    allocation: allocationSettings(plan),
    account: spec.account,
    shell: plan.shell,
    ...(spec.tty ? { term: spec.environment.term } : {}),
    job: {
      jobId: spec.id,
      node: node.name,
      nodeId: node.index,
      nodeCount: nodes.length,
      ...(nodeList === undefined ? {} : { nodeList }),
      slots: node.slots,
      totalSlots: nodes.reduce((sum, { slots }) => sum + slots, 0),
      // Every host has them at the same addresses: what another host connects to there is somebody else.
      bridges: spec.several && plan.network === "host" ? bridgeNames() : [],
      qualifiedNames: nodes.some(({ name }) => name.includes(".")),
      imageRequest: spec.image,
      imageId: image.id,
    },
  });
  const environment = applySite(composed, spec.environment.site);
  // A name without a value takes away what the engine would add of the image's.
  return [...environment, ...unwantedNames(image.env, environment)];
}

/**
 * The names of all nodes for GANGWAY_NODELIST: parted by commas, of more than a hundred in Slurm's short form.
 *
 * @returns undefined where even that is too long: then `/var/hostsfile` says it
 */
export function nodeListOf(nodes: readonly AllocatedNode[]): string | undefined {
  const names = nodes.map(({ name }) => name);
  const list = names.length > MANY ? foldHostlist(names) : names.join(",");
  return list.length > LONGEST_LIST ? undefined : list;
}

function allocationSettings({ spec, mounts }: Plan): EnvSetting[] {
  const { shared, node, scratch } = spec.environment.allocation;
  const settings: EnvSetting[] = [...shared, ...node];
  if (scratch !== undefined && mounts.some(({ target }) => contains(target, scratch)))
    settings.push(["TMPDIR", scratch]);
  const named = /^"?device=/.test(spec.gpus ?? "");
  return named ? settings.filter(([name, value]) => !countsAnew(name, value)) : settings;
}

/** In a container that is given named GPUs alone these are numbered anew from 0; an UUID stays right. */
function countsAnew(name: string, value: string | undefined): boolean {
  return /_VISIBLE_DEVICES$|^GPU_DEVICE_ORDINAL$/.test(name) && /^[0-9,]*$/.test(value ?? "");
}
