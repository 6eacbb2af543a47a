import { type Account, decimal } from "./accounts.ts";

const NOBODY = 65_534;
/** The shell of images that have none (docs/internals.md, section 2). */
export const OWN_SHELL = "/opt/udiImage/tools/sh";
/** Programs that stand in the shell's field and are none. */
const NO_SHELLS = new Set(["nologin", "false", "true", "sync", "halt", "shutdown"]);

interface Line {
  readonly text: string;
  readonly name: string;
  readonly id: number;
}

/**
 * The container's `/etc/passwd`: the account's line first, so that looking up its uid gives its name, then the image's
 * own lines but those with the account's name or uid, then `root` and `nobody` where the image has none. Malformed lines
 * and those of NIS (`+…`, `-…`) are dropped.
 *
 * @param imagePasswd the image's own file; undefined if it has none
 * @param shell what `chooseShell` gave
 */
export function mergePasswd(imagePasswd: string | undefined, account: Account, shell: string): string {
  const own = [account.name, "x", account.uid, account.gid, account.gecos, account.home, shell].join(":");
  const kept = readLines(imagePasswd, 7, [2, 3]).filter(({ name, id }) => name !== account.name && id !== account.uid);
  const names = new Set([account.name, ...kept.map(({ name }) => name)]);
  const ids = new Set([account.uid, ...kept.map(({ id }) => id)]);
  const added: string[] = [];
  if (!names.has("root")) added.push("root:x:0:0:root:/root:/sbin/nologin");
  if (!names.has("nobody") && !ids.has(NOBODY)) added.push(`nobody:x:${NOBODY}:${NOBODY}:nobody:/:/sbin/nologin`);
  return toFile([own, ...kept.map(({ text }) => text), ...added]);
}

/**
 * The container's `/etc/group`: the primary group, then every supplementary group with the account as its member, then
 * the image's own lines but those with one of these names or gids, then `root` and `nogroup` where the image has none.
 *
 * @param imageGroup the image's own file; undefined if it has none
 */
export function mergeGroup(imageGroup: string | undefined, account: Account): string {
  const own = new Map<number, string>([[account.gid, account.groupName]]);
  const taken = new Set([account.groupName]);
  for (const { gid, name } of account.groups) {
    if (own.has(gid)) continue;
    const unique = taken.has(name) ? `g${gid}` : name;
    own.set(gid, unique);
    taken.add(unique);
  }
  const lines = [...own].map(([gid, name]) => `${name}:x:${gid}:${gid === account.gid ? "" : account.name}`);
  const kept = readLines(imageGroup, 4, [2]).filter(({ name, id }) => !taken.has(name) && !own.has(id));
  const names = new Set([...taken, ...kept.map(({ name }) => name)]);
  const ids = new Set([...own.keys(), ...kept.map(({ id }) => id)]);
  const added: string[] = [];
  if (!names.has("root") && !ids.has(0)) added.push("root:x:0:");
  if (!names.has("nogroup") && !ids.has(NOBODY)) added.push(`nogroup:x:${NOBODY}:`);
  return toFile([...lines, ...kept.map(({ text }) => text), ...added]);
}

/**
 * The shell that sessions get.
 *
 * @param accountShell absolute path on the host; may be ""
 * @param exists whether a path is a program in the image
 * @returns the account's own where the image has it and it is a shell, else bash, sh, else the udiImage's
 */
export function chooseShell(accountShell: string, exists: (path: string) => boolean): string {
  const isShell = accountShell.startsWith("/") && !NO_SHELLS.has(accountShell.slice(accountShell.lastIndexOf("/") + 1));
  const candidates = [...(isShell ? [accountShell] : []), "/bin/bash", "/bin/sh"];
  return candidates.find((path) => exists(path)) ?? OWN_SHELL;
}

/**
 * The lines of a file that the C library would take, in their order.
 *
 * @param fields how many a line has
 * @param numeric which of them must be ids; the first of these is the line's own
 */
function readLines(file: string | undefined, fields: number, numeric: readonly [number, ...number[]]): Line[] {
  const lines: Line[] = [];
  for (const raw of (file ?? "").split("\n")) {
    const text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (text.includes("\0")) continue;
    const parts = text.split(":");
    const name = parts[0] ?? "";
    const id = decimal(parts[numeric[0]] ?? "");
    if (parts.length !== fields || id === undefined || name === "" || /^[-+#\s]/.test(name)) continue;
    if (numeric.some((index) => decimal(parts[index] ?? "") === undefined)) continue;
    lines.push({ text, name, id });
  }
  return lines;
}

function toFile(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
