import { fault, quote, type Where } from "../../config/where.ts";

const HINT = "write FROM:TO[:ro], both absolute; several are parted by ;";

/**
 * Reads Shifter's volumes, `FROM:TO[:ro][;…]`, each perhaps in double quotes.
 *
 * @param where the option or variable, for messages
 * @returns each as `gangway run --volume` takes it
 * @throws GangwayError for what has no meaning here, too: `perNodeCache`, and what only a site may say
 */
export function parseShifterVolumes(text: string, where: Where): string[] {
  return text
    .split(";")
    .map((entry) => entry.replace(/^"(.*)"$/s, "$1"))
    .filter((entry) => entry !== "")
    .map((entry) => volume(entry, where));
}

function volume(entry: string, where: Where): string {
  const [from = "", to = "", ...flags] = entry.split(":");
  for (const path of [from, to]) {
    if (!path.startsWith("/")) throw fault(where, `${quote(entry)}: ${quote(path)} is not an absolute path`, HINT);
    if (path.split("/").includes("..")) throw fault(where, `${quote(entry)}: ${quote(path)} has a ..`, HINT);
  }
  const [flag, another] = flags;
  if (flag === undefined) return `${from}:${to}`;
  const [name = ""] = flag.toLowerCase().split("=");
  if (name === "pernodecache") {
    throw fault(
      where,
      `${quote(entry)}: perNodeCache is Shifter's own kind of file system, and not to be had here`,
      "mount a directory of the node's own disk: FROM:TO",
    );
  }
  if (name !== "ro") throw fault(where, `${quote(entry)}: there is no flag ${quote(flag)}`, HINT);
  if (flag.includes("=")) throw fault(where, `${quote(entry)}: ro takes no argument`, HINT);
  if (another !== undefined) throw fault(where, `${quote(entry)}: one flag is enough`, HINT);
  return `${from}:${to}:ro`;
}
