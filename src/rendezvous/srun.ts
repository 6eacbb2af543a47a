import { sameHost } from "../allocation/allocation.ts";
import { foldHostlist, unfoldHostlist } from "../allocation/hostlist.ts";
import type { Frame } from "./frames.ts";
import { Noise } from "./noise.ts";
import { Program, type Starter, type StartNode } from "./starter.ts";
import { TaskEnds } from "./task-ends.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Slurm's own launcher: one task on each node, beside whatever else the job runs there. */
export const srun: Starter = {
  title: "srun",
  start({ nodes, argv, env }, events) {
    const noise = new Noise();
    const clean = srunEnvironment(env);
    const labels = new Map<number, RegExp>();
    let stopped = false;
    const programs = componentsOf(nodes, env).map(({ group, members }) => {
      const speakers = new Speakers(members);
      const indices = members.map(({ index }) => index);
      const ends = new TaskEnds(indices, (ended, reason) => {
        if (!stopped) events.onEnd(ended, reason);
      });
      return new Program(
        ["srun", ...optionsFor(members, group), ...argv],
        { env: clean, noise, unlabel },
        {
          onFrame(frame, label = "") {
            const node = speakers.nodeOf(frame, label);
            if (node === undefined) noise.add(`task ${label} spoke for another node`);
            else if (!stopped) events.onFrame(frame, node);
          },
          onComplaint(line) {
            const ended = taskEnd(line, members);
            if (ended === undefined) return false;
            const [only] = ended.nodes;
            if (ended.label !== undefined && only !== undefined) labels.set(only, ended.label);
            ends.expect(ended.nodes, ended.reason);
            return true;
          },
          onEnd: (reason) => ends.end(reason),
        },
      );
    });
    const byIndex = new Map(nodes.map((node) => [node.index, node]));
    return {
      noise: () => noise.text(),
      about(index) {
        const node = byIndex.get(index);
        return node === undefined ? undefined : noise.about(node, labels.get(index));
      },
      async stop() {
        stopped = true;
        await Promise.all(programs.map((program) => program.stop()));
      },
    };
  },
};

/** `--ntasks-per-node` alone is ignored where the allocation has more tasks a node. */
function optionsFor(nodes: readonly StartNode[], group: number | undefined): string[] {
  const names = nodes.map(({ name }) => name);
  return [
    ...(group === undefined ? [] : [`--het-group=${group}`]),
    ...["--overlap", "-N", `${nodes.length}`, "-n", `${nodes.length}`, "--ntasks-per-node=1"],
    `--nodelist=${foldHostlist(names)}`,
    ...["--label", "--mpi=none", "--cpu-bind=none", "--input=none"],
    // One that fails, or ends before the others, is the launcher's to judge: it may go on without.
    ...["--kill-on-bad-exit=0", "--wait=0"],
    ...["--export=ALL", "--job-name=gangway"],
  ];
}

interface TaskEnd {
  readonly nodes: readonly number[];
  readonly reason: string;
  /** Of what the task said, where it is one. */
  readonly label: RegExp | undefined;
}

/**
 * What srun itself says of tasks that failed, while others go on: `srun: error: n[2-3]: tasks 1-2: Exited with exit code
 * 127`, or `srun: error: task 2 launch failed: Slurmd could not execve job`. What tasks say has a label in front.
 */
function taskEnd(line: string, members: readonly StartNode[]): TaskEnd | undefined {
  const unlaunched = /^srun: error: task (\d{1,6}) launch failed: (.{1,200})$/.exec(line);
  if (unlaunched !== null) return neverLaunched(Number(unlaunched[1]), unlaunched[2] ?? "", members);
  const match = /^srun: error: (\S{1,4096}): tasks? ([\d,-]+): (.{1,200})$/.exec(line);
  if (match === null) return undefined;
  const [, list = "", tasks = "", reason = ""] = match;
  try {
    const names = new Set(unfoldHostlist(list, { kind: "variable", name: "srun's message" }));
    const nodes = members.filter(({ name }) => names.has(name)).map(({ index }) => index);
    return nodes.length === 0
      ? undefined
      : { nodes, reason, label: /^\d+$/.test(tasks) ? new RegExp(`^0*${tasks}: `) : undefined };
  } catch {
    // No list: not what it looked like.
    return undefined;
  }
}

/** Without a host's name: the task's number is its place in the step. */
function neverLaunched(task: number, reason: string, members: readonly StartNode[]): TaskEnd | undefined {
  const node = members[task];
  if (node === undefined) return undefined;
  const told = `launch failed: ${reason}; slurmd's log on that host tells why`;
  return { nodes: [node.index], reason: told, label: new RegExp(`^0*${task}: `) };
}

/** `--label` puts the task's number before each line, padded to the width of the longest. */
function unlabel(line: string): { label: string; text: string } | undefined {
  const match = /^ *0*(\d{1,6}): (.*)$/s.exec(line);
  return match === null ? undefined : { label: match[1] ?? "", text: match[2] ?? "" };
}

/** Tells whose a frame is. */
class Speakers {
  readonly #nodes: readonly StartNode[];
  readonly #byName: ReadonlyMap<string, StartNode>;
  readonly #byLabel = new Map<string, StartNode>();
  readonly #spoken = new Set<StartNode>();

  constructor(nodes: readonly StartNode[]) {
    this.#nodes = nodes;
    this.#byName = new Map(nodes.map((node) => [node.name.toLowerCase(), node]));
  }

  /**
   * Tasks are counted in Slurm's order of the nodes, which need not be the allocation's: the name in the frame decides, and
   * no task may speak for two nodes, nor two for one. A frame without a name is of the task's position.
   */
  nodeOf(frame: Frame, label: string): number | undefined {
    const node = frame.kind === "foreign" ? this.#nodes[Number(label)] : this.#named(frame.node);
    const before = this.#byLabel.get(label);
    if (node === undefined || before !== undefined) return node === before ? node?.index : undefined;
    if (this.#spoken.has(node)) return undefined;
    this.#byLabel.set(label, node);
    this.#spoken.add(node);
    return node.index;
  }

  #named(name: string): StartNode | undefined {
    return this.#byName.get(name.toLowerCase()) ?? this.#nodes.find((node) => sameHost(node.name, name));
  }
}

/** Which job this is, and how Slurm is reached; everything else that is said in variables would change this srun. */
const KEPT = /^SLURM_(?:JOB_?ID|CONF|CLUSTER_NAME|HET_SIZE|HET_JOB_ID|JOB_ID_HET_GROUP_\d+|JWT)$/;

/**
 * The environment without what srun(1) reads as options ("INPUT ENVIRONMENT VARIABLES"), and without what a step that this
 * launcher may itself run in says of itself.
 */
export function srunEnvironment(env: Environment): Record<string, string> {
  const entries = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && (KEPT.test(entry[0]) || !/^(?:SLURMD?|SRUN|PMI|PMIX)_/.test(entry[0])),
  );
  return Object.fromEntries(entries);
}

interface Component {
  readonly group: number | undefined;
  readonly members: readonly StartNode[];
}

/**
 * A heterogeneous job is several jobs, and a step has its options from each: so there is a step for each component, which is
 * named by its number.
 */
function componentsOf(nodes: readonly StartNode[], env: Environment): Component[] {
  const size = Number(env.SLURM_HET_SIZE ?? 0);
  if (!Number.isInteger(size) || size < 2) return [{ group: undefined, members: nodes }];
  const groupOf = new Map<string, number>();
  for (let group = 0; group < size; group++) {
    const variable = `SLURM_JOB_NODELIST_HET_GROUP_${group}`;
    for (const name of unfoldHostlist(env[variable] ?? "", { kind: "variable", name: variable })) {
      if (!groupOf.has(name)) groupOf.set(name, group);
    }
  }
  const members = new Map<number, StartNode[]>();
  for (const node of nodes) {
    const group = groupOf.get(node.name) ?? 0;
    members.set(group, [...(members.get(group) ?? []), node]);
  }
  return [...members].map(([group, list]) => ({ group, members: list }));
}
