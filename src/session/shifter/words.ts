import { UsageError } from "../../config/errors.ts";
import { quote } from "../../config/where.ts";
import { getopt, type OptionTable } from "./getopt.ts";

/** Shifter's options, by its own table (shifter.c of 22.02): `-n` is there, and means nothing. */
export const SHIFTER_OPTIONS: OptionTable = {
  short: {
    h: "none",
    n: "none",
    v: "none",
    V: "required",
    i: "required",
    e: "required",
    E: "none",
    w: "optional",
    m: "required",
  },
  long: [
    { name: "help", arity: "none", means: "h" },
    { name: "volume", arity: "required", means: "V" },
    { name: "verbose", arity: "none", means: "v" },
    { name: "image", arity: "required", means: "i" },
    { name: "entry", arity: "optional", means: "entrypoint" },
    { name: "entrypoint", arity: "optional", means: "entrypoint" },
    { name: "workdir", arity: "optional", means: "w" },
    { name: "module", arity: "required", means: "m" },
    { name: "env", arity: "required", means: "e" },
    { name: "env-file", arity: "required", means: "env-file" },
    { name: "clearenv", arity: "none", means: "E" },
  ],
};

/** A command line of shifter's. */
export interface ShifterWords {
  readonly help: boolean;
  readonly verbose: boolean;
  /** `[TYPE:]NAME` */
  readonly image?: string;
  /** Undefined: no -V at all. */
  readonly volumes?: readonly string[];
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  readonly envFile?: string;
  readonly clearEnv: boolean;
  /** Undefined: the caller's directory; "image": the image's own. */
  readonly workdir?: "image" | { readonly directory: string };
  /** Undefined: neither the image's ENTRYPOINT nor its CMD; "image": the image's own. */
  readonly entrypoint?: "image" | { readonly program: string };
  readonly module?: string;
  readonly command: readonly string[];
}

/**
 * Reads a command line of shifter's. Where an option that has one value is repeated, the last one counts.
 *
 * @param words behind the program's name
 * @throws UsageError
 */
export function parseShifterWords(words: readonly string[]): ShifterWords {
  const { given, rest } = getopt(words, SHIFTER_OPTIONS);
  const has = (means: string) => given.some(([option]) => option === means);
  const all = (means: string) => given.flatMap(([option, argument]) => (option === means ? [argument ?? ""] : []));
  const image = all("i").at(-1);
  const envFile = all("env-file").at(-1);
  const module = all("m").at(-1);
  return {
    help: has("h"),
    verbose: has("v"),
    ...(image === undefined ? {} : { image }),
    ...(has("V") ? { volumes: all("V") } : {}),
    env: all("e").map(checkAssignment),
    ...(envFile === undefined ? {} : { envFile }),
    clearEnv: has("E"),
    ...(has("w") ? { workdir: workdirOf(given.findLast(([option]) => option === "w")?.[1]) } : {}),
    ...(has("entrypoint")
      ? { entrypoint: entrypointOf(given.findLast(([option]) => option === "entrypoint")?.[1]) }
      : {}),
    ...(module === undefined ? {} : { module }),
    command: rest,
  };
}

/** As Shifter: NAME alone and an empty value are refused. */
function checkAssignment(text: string): string {
  const equals = text.indexOf("=");
  if (equals > 0 && equals < text.length - 1) return text;
  throw new UsageError(`--env ${quote(text)}: not NAME=VALUE`, {
    hint: "an empty value cannot be set here; --env-file takes one",
  });
}

function workdirOf(directory: string | undefined): "image" | { directory: string } {
  if (directory === undefined) return "image";
  if (directory.startsWith("/")) return { directory };
  throw new UsageError(`--workdir ${quote(directory)}: not an absolute path in the container`, {
    hint: "write --workdir=/DIRECTORY, in one word; without a directory it is the image's own",
  });
}

function entrypointOf(program: string | undefined): "image" | { program: string } {
  if (program === undefined) return "image";
  if (program !== "") return { program };
  throw new UsageError("--entrypoint= names no program", {
    hint: "leave the = out for the image's own, or the whole option for none",
  });
}
