import { GangwayError } from "../config/errors.ts";
import type { ContainerSpec, MountSpec } from "../engine/types.ts";
import { UDI_IMAGE } from "./mounts.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** What of a job's environment says where it is and who its other nodes are; the rest is the runtime's, and its image's. */
const OF_THE_JOB = /^(GANGWAY|OMPI_MCA|PRTE_MCA|PMIX_MCA|HYDRA|I_MPI)_/;

/** The variables by which Apptainer, and SingularityCE, are told of binds (their manuals, "Bind Paths and Mounts"). */
const BIND_VARIABLES = ["APPTAINER_BIND", "SINGULARITY_BIND"] as const;
/** Begins the name of what they set in the container, whatever else they keep out of it ("Environment and Metadata"). */
const INSIDE = ["APPTAINERENV_", "SINGULARITYENV_"] as const;

/**
 * Mounts as Apptainer writes binds: `SOURCE:TARGET:ro,…`.
 *
 * @throws GangwayError for a path in which a mark of that grammar stands
 */
export function bindList(mounts: readonly MountSpec[]): string {
  return mounts
    .map(({ source, target, readOnly }) => {
      if (/[,:\\"\n]/.test(source)) {
        throw new GangwayError(`${source} cannot be bound: a runtime would read its comma or colon as a mark`, {
          hint: "install Gangway, and set runDirectory, where no such character is in the path",
        });
      }
      return `${source}:${target}${readOnly ? ":ro" : ""}`;
    })
    .join(",");
}

/**
 * The environment for a runtime: the caller's, and what makes Apptainer and SingularityCE bind what is ours and put our
 * programs into the job's PATH. What the user has set for the same purposes stays: binds before ours, places in the PATH
 * behind our first and before our last. `GANGWAY_BINDS` has our binds alone, for whoever starts another runtime by a script.
 *
 * @param caller the environment of this process
 * @param container of the node
 * @throws GangwayError for a path that cannot be bound
 */
export function runtimeEnvironment(caller: Variables, container: Pick<ContainerSpec, "env" | "mounts">): Variables {
  const ours = bindList(container.mounts);
  const said = firstOf(caller, BIND_VARIABLES);
  const binds = said === undefined ? ours : `${said},${ours}`;
  const inside: Record<string, string> = {
    ...Object.fromEntries(container.env.map(nameAndValue).filter(([name]) => OF_THE_JOB.test(name))),
  };
  const paths = {
    PREPEND_PATH: joined(`${UDI_IMAGE}/bin`, firstOf(caller, within("PREPEND_PATH"))),
    APPEND_PATH: joined(firstOf(caller, within("APPEND_PATH")), `${UDI_IMAGE}/tools`),
  };
  return {
    ...caller,
    ...inside,
    GANGWAY_BINDS: ours,
    // Both the same: Apptainer takes SingularityCE's, too, and complains where the two differ.
    ...Object.fromEntries(BIND_VARIABLES.map((name) => [name, binds])),
    ...Object.fromEntries(
      Object.entries({ ...inside, ...paths }).flatMap(([name, value]) => within(name).map((each) => [each, value])),
    ),
  };
}

/** What a manager's launcher sets for the processes of a step. */
const OF_A_STEP = /^(SLURM|SRUN|PMI2?|PMIX|FLUX)_/;

/**
 * The environment of a process that a manager's launcher started, without what makes a library believe that it was started
 * there itself: a runtime hands on whatever it is given.
 *
 * @param kept NAME=value, what of the manager's the job's command is to have
 */
export function withoutStep(caller: Variables, kept: readonly string[]): Variables {
  const names = new Set(kept.map((entry) => nameAndValue(entry)[0]));
  return Object.fromEntries(Object.entries(caller).filter(([name]) => !OF_A_STEP.test(name) || names.has(name)));
}

function within(name: string): string[] {
  return INSIDE.map((prefix) => `${prefix}${name}`);
}

function firstOf(variables: Variables, names: readonly string[]): string | undefined {
  return names.map((name) => variables[name]).find((value) => value !== undefined && value !== "");
}

function joined(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined).join(":");
}

function nameAndValue(entry: string): [string, string] {
  const equals = entry.indexOf("=");
  return equals === -1 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
}
