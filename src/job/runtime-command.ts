import { UsageError } from "../config/errors.ts";
import { UDI_IMAGE } from "./mounts.ts";

/** How a container runtime that has no engine's interface is started: Apptainer, bubblewrap, a script of the user's. */
export interface RuntimeSpec {
  /** argv up to the program in the container: `apptainer exec --nv app.sif`. */
  readonly words: readonly string[];
  /** Bind `/etc/passwd` and `/etc/group` of ours, for images without them; else the runtime sees to the account. */
  readonly accounts: boolean;
}

/** Where our first process lies in every container. */
export const INIT = `${UDI_IMAGE}/libexec/init`;

const USAGE = `gangway attach-runtime -- apptainer exec IMAGE.sif ${INIT} -- COMMAND`;

/**
 * Takes a runtime's command line apart at our init, whose options are the launcher's to say.
 *
 * @param line such as `apptainer exec app.sif /opt/udiImage/libexec/init -- ./solve`
 * @returns the runtime's own words, and the job's command
 * @throws UsageError for a line without init, without a runtime before it or a command behind it, or with options of init's
 */
export function parseRuntimeLine(line: readonly string[]): { readonly words: string[]; readonly command: string[] } {
  const at = line.indexOf(INIT);
  if (at === -1) {
    throw new UsageError(`the container's program is not ${INIT}: nothing could let sessions in`, { hint: USAGE });
  }
  const words = line.slice(0, at);
  if (words.length === 0) throw new UsageError(`no runtime stands before ${INIT}`, { hint: USAGE });
  const rest = line.slice(at + 1);
  const [first, ...behind] = rest;
  if (first?.startsWith("-") === true && first !== "--") {
    throw new UsageError(`${first} stands behind init, whose options are gangway's to choose`, {
      hint: `say it to gangway attach-runtime, as in --linger 60 or --port 1204, or see its --help`,
    });
  }
  const command = first === "--" ? behind : rest;
  if (command.length === 0) throw new UsageError(`no command stands behind ${INIT} --`, { hint: USAGE });
  return { words, command };
}

/** What stands for the image in lists: the last word before init, which is where every runtime has it. */
export function imageOf(words: readonly string[]): string {
  return words.at(-1) ?? "";
}
