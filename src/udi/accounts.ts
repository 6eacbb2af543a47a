import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { GangwayError } from "../config/errors.ts";
import { programNamed } from "../config/program-path.ts";
import { hasControl, quoted } from "./names.ts";

export interface Group {
  readonly gid: number;
  readonly name: string;
}

/** The job's user, as the host knows it. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Name of the primary group. */
  readonly groupName: string;
  readonly gecos: string;
  /** Absolute path. */
  readonly home: string;
  /** Absolute path on the host, or "" if there is none. */
  readonly shell: string;
  /** Supplementary groups, without the primary one. */
  readonly groups: readonly Group[];
}

/** What is asked of the host; replaced in tests. */
export interface AccountSource {
  /** Real ids of this process. */
  ids(): { uid: number; gid: number; groups: readonly number[] };
  /** The account of this process; undefined if its uid has none. */
  self(): { name: string; home: string; shell: string } | undefined;
  /** `$HOME` of this process. */
  home(): string | undefined;
  /** The text of `/etc/passwd` or `/etc/group`; "" if it cannot be read. */
  file(path: "/etc/passwd" | "/etc/group"): string;
  /** `getent DATABASE KEY…`: the lines found, "" if none was. */
  getent(database: "passwd" | "group", keys: readonly string[]): string;
  /** `id -G NAME`: all groups of an account, or undefined if that failed. */
  groupsOf(name: string): readonly number[] | undefined;
}

/** Docker and Podman both refuse ids above (measured). */
export const MAX_ID = 2_147_483_647;

interface PasswdFields {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
}

/**
 * Reads an account of the host.
 *
 * The calling user costs no process, unless one of its groups is not in `/etc/group`: then one `getent`. The primary
 * group is that of the process (`newgrp` and `sg` are respected), the supplementary ones are the process's own. Group 0
 * is left out of them: it is root's.
 *
 * @param who name or uid; undefined: the calling user. Only root may name somebody else. A uid without an account works:
 *   its name is `uUID`, its group has the same number, its home is `/`
 * @throws GangwayError if there is no such account, it is root's, an id is above the engines' limit, or a field cannot
 *   stand in a line of `/etc/passwd`
 */
export function readAccount(who: string | number | undefined, source: AccountSource = host): Account {
  const { uid } = source.ids();
  const self = who === undefined ? undefined : String(who);
  const account =
    self === undefined || self === String(uid) || (uid !== 0 && self === source.self()?.name)
      ? readSelf(source)
      : readOther(self, uid, source);
  return checkAccount(account);
}

function readSelf(source: AccountSource): Account {
  const { uid, gid, groups } = source.ids();
  refuseRoot(uid);
  const self = source.self();
  const names = groupNames([gid, ...groups], source);
  return {
    name: self?.name ?? `u${uid}`,
    uid,
    gid,
    groupName: names.get(gid) ?? `g${gid}`,
    gecos: self === undefined ? "" : gecosOf(self.name, uid, source.file("/etc/passwd")),
    home: absolute(self === undefined ? source.home() : self.home),
    shell: self?.shell ?? "",
    groups: supplementary(groups, gid, names),
  };
}

function readOther(who: string, caller: number, source: AccountSource): Account {
  if (caller !== 0)
    throw new GangwayError(`only root may run a job as another user (${quoted(who)})`, {
      hint: "leave --user out to run it as yourself",
    });
  checkName(who);
  const found = passwdFields(source.getent("passwd", [who]).split("\n")[0] ?? "");
  if (found === undefined && !/^[0-9]+$/.test(who))
    throw new GangwayError(`there is no user ${quoted(who)} on this host`, {
      hint: "give --user the name or the uid of an account",
    });
  const account = found ?? withoutAccount(Number(who));
  refuseRoot(account.uid);
  const gids = found === undefined ? [] : (source.groupsOf(account.name) ?? []);
  const names = groupNames([account.gid, ...gids], source);
  return {
    ...account,
    groupName: names.get(account.gid) ?? `g${account.gid}`,
    home: absolute(account.home),
    groups: supplementary(gids, account.gid, names),
  };
}

function withoutAccount(uid: number): PasswdFields {
  return { name: `u${uid}`, uid, gid: uid, gecos: "", home: "/", shell: "" };
}

function supplementary(gids: readonly number[], primary: number, names: ReadonlyMap<number, string>): Group[] {
  return [...new Set(gids)]
    .filter((gid) => gid !== primary && gid !== 0)
    .map((gid) => ({ gid, name: names.get(gid) ?? `g${gid}` }));
}

/** A name for every gid, no two the same: from `/etc/group`, else `getent` in one call, else made from the number. */
function groupNames(gids: readonly number[], source: AccountSource): Map<number, string> {
  const wanted = new Set(gids);
  const names = new Map<number, string>();
  const taken = new Set<string>();
  const learn = (text: string) => {
    for (const line of text.split("\n")) {
      const [name = "", , id = ""] = line.split(":");
      const gid = decimal(id);
      if (gid === undefined || !wanted.has(gid) || names.has(gid) || taken.has(name) || !isGroupName(name)) continue;
      names.set(gid, name);
      taken.add(name);
    }
  };
  const missing = () => [...wanted].filter((gid) => !names.has(gid));
  learn(source.file("/etc/group"));
  const unknown = missing();
  if (unknown.length > 0) learn(source.getent("group", unknown.map(String)));
  for (const gid of missing()) {
    let name = `g${gid}`;
    while (taken.has(name)) name += "_";
    names.set(gid, name);
    taken.add(name);
  }
  return names;
}

/** `os.userInfo()` does not tell it; worth a file that is read anyway, not worth a process. */
function gecosOf(name: string, uid: number, passwd: string): string {
  for (const line of passwd.split("\n")) {
    if (!line.startsWith(`${name}:`)) continue;
    const fields = passwdFields(line);
    if (fields?.uid === uid) return fields.gecos;
  }
  return "";
}

function refuseRoot(uid: number): void {
  if (uid === 0)
    throw new GangwayError("a job never runs as root", {
      hint: "name the user it shall run as: --user NAME",
    });
}

function checkAccount(account: Account): Account {
  checkName(account.name);
  refuseRoot(account.uid);
  checkId("uid", account.uid, account.name);
  checkId("gid", account.gid, account.name);
  for (const { gid } of account.groups) checkId("gid", gid, account.name);
  for (const [what, value] of [
    ["home", account.home],
    ["shell", account.shell],
    ["full name", account.gecos],
  ] as const) {
    if (!isField(value))
      throw new GangwayError(`the ${what} of ${quoted(account.name)}, ${quoted(value)}, cannot stand in /etc/passwd`);
  }
  return account;
}

function checkId(what: "uid" | "gid", id: number, name: string): void {
  if (Number.isInteger(id) && id >= 1 && id <= MAX_ID) return;
  const user = quoted(name);
  if (id === 0)
    throw new GangwayError(`the primary group of ${user} is root's (gid 0)`, {
      hint: "a job never runs with root's group; start it from another primary group (newgrp)",
    });
  throw new GangwayError(`${user} has the ${what} ${id}, above ${MAX_ID}: the engines' own limit`, {
    hint: `Docker and Podman run containers with ids up to ${MAX_ID} only`,
  });
}

/** A colon, a line's end and a comma would end the field; the C library skips or reinterprets the first characters. */
function checkName(name: string): void {
  if (name !== "" && isField(name) && !name.includes(",") && !/^[-+#~]|^\s|\s$/.test(name)) return;
  throw new GangwayError(`the user name ${quoted(name)} cannot stand in /etc/passwd`, {
    hint: "names must have no colon, comma, line break or control character, and not begin with - + # ~ or a blank",
  });
}

function isGroupName(name: string): boolean {
  return name !== "" && isField(name) && !/^[-+#]|^\s|\s$/.test(name);
}

function isField(value: string): boolean {
  return !value.includes(":") && !hasControl(value);
}

function absolute(home: string | undefined): string {
  return home?.startsWith("/") ? home : "/";
}

function passwdFields(line: string): PasswdFields | undefined {
  const fields = line.split(":");
  const [name = "", , uidText = "", gidText = "", gecos = "", home = "", shell = ""] = fields;
  const uid = decimal(uidText);
  const gid = decimal(gidText);
  if (fields.length !== 7 || name === "" || uid === undefined || gid === undefined) return undefined;
  return { name, uid, gid, gecos, home, shell };
}

/** An id of 32 bits in decimal digits, as the C library takes it from its files. */
export function decimal(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= 0xffff_ffff ? value : undefined;
}

/** The host this process runs on. */
const host: AccountSource = {
  ids: () => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: process.getgroups?.() ?? [] }),
  self: () => {
    try {
      const { username, homedir, shell } = userInfo();
      return { name: username, home: homedir, shell: shell ?? "" };
    } catch (error) {
      // A uid without an account. libuv reports it as ENOENT.
      if (error instanceof Error && "code" in error && error.code === "ERR_SYSTEM_ERROR") return undefined;
      throw error;
    }
  },
  home: () => process.env.HOME,
  file: (path) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      // No such file is no error: every account may come from a directory service.
      return "";
    }
  },
  getent: (database, keys) => run("getent", [database, ...keys]) ?? "",
  groupsOf: (name) =>
    run("id", ["-G", name])
      ?.trim()
      .split(/\s+/)
      .map(Number)
      .filter((gid) => Number.isInteger(gid)),
};

/** Standard output, also of a run that failed in part (`getent` exits 2 where one of its keys is unknown). */
function run(program: string, args: readonly string[]): string | undefined {
  // Loaded here: a launch by the calling user needs no process, and should not pay for the module.
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const done = spawnSync(programNamed(program), args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 30_000,
  });
  return done.error === undefined && (done.status === 0 || done.stdout !== "") ? done.stdout : undefined;
}
