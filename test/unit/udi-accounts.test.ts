import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { type AccountSource, MAX_ID, readAccount } from "../../src/udi/accounts.ts";

interface Fake {
  ids?: { uid: number; gid: number; groups: readonly number[] };
  self?: { name: string; home: string; shell: string } | undefined;
  passwd?: string;
  group?: string;
  /** What the directory service knows beyond the files. */
  directory?: { passwd?: string; group?: string };
  groupsOf?: readonly number[];
  home?: string;
}

/** A host made of texts; counts the look-ups that would have been processes. */
function hostOf(fake: Fake): AccountSource & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    ids: () => fake.ids ?? { uid: 1001, gid: 100, groups: [100, 500] },
    self: () => ("self" in fake ? fake.self : { name: "alice", home: "/home/alice", shell: "/bin/zsh" }),
    home: () => fake.home,
    file: (path) => (path === "/etc/passwd" ? (fake.passwd ?? "") : (fake.group ?? "")),
    getent: (database, keys) => {
      asked.push(`getent ${database} ${keys.join(" ")}`);
      const lines = (fake.directory?.[database] ?? "").split("\n");
      return lines.filter((line) => keys.some((key) => [0, 2].some((at) => line.split(":")[at] === key))).join("\n");
    },
    groupsOf: (name) => {
      asked.push(`id -G ${name}`);
      return fake.groupsOf;
    },
  };
}

const root = { uid: 0, gid: 0, groups: [0] };
const group = "root:x:0:\nusers:x:100:\nproject:x:500:\n";

describe("readAccount, of the calling user", () => {
  it("reads files only", () => {
    const source = hostOf({ group, passwd: "alice:x:1001:100:Alice A.,,,:/home/alice:/bin/zsh\n" });
    expect(readAccount(undefined, source)).toEqual({
      name: "alice",
      uid: 1001,
      gid: 100,
      groupName: "users",
      gecos: "Alice A.,,,",
      home: "/home/alice",
      shell: "/bin/zsh",
      groups: [{ gid: 500, name: "project" }],
    });
    expect(source.asked).toEqual([]);
  });

  it("asks for all groups that are not in the file in one call", () => {
    const source = hostOf({
      ids: { uid: 1001, gid: 100, groups: [500, 70_001, 70_002, 70_003] },
      group,
      directory: { group: "Domain Users:x:70001:\nproject:x:70002:alice\n" },
    });
    // 70002 has the name of another group, 70003 has none: both get one of their own.
    expect(readAccount(undefined, source).groups).toEqual([
      { gid: 500, name: "project" },
      { gid: 70_001, name: "Domain Users" },
      { gid: 70_002, name: "g70002" },
      { gid: 70_003, name: "g70003" },
    ]);
    expect(source.asked).toEqual(["getent group 70001 70002 70003"]);
  });

  it("makes a name that no other group has", () => {
    const source = hostOf({ ids: { uid: 5, gid: 7, groups: [8] }, group: "g7:x:8:\n" });
    const account = readAccount(undefined, source);
    expect(account.groupName).toBe("g7_");
    expect(account.groups).toEqual([{ gid: 8, name: "g7" }]);
  });

  it("leaves root's group and the primary one out of the supplementary", () => {
    const source = hostOf({ ids: { uid: 1001, gid: 100, groups: [0, 100, 500, 500] }, group });
    expect(readAccount(undefined, source).groups).toEqual([{ gid: 500, name: "project" }]);
  });

  it("works for a uid without an account", () => {
    const source = hostOf({ ids: { uid: 4242, gid: 4243, groups: [] }, self: undefined, home: "/scratch/x" });
    expect(readAccount(undefined, source)).toMatchObject({
      name: "u4242",
      groupName: "g4243",
      home: "/scratch/x",
      shell: "",
    });
    for (const home of [undefined, "", "relative"])
      expect(readAccount(undefined, { ...source, home: () => home }).home).toBe("/");
  });

  it("agrees with this host's own programs", () => {
    const uid = Number(execFileSync("id", ["-u"], { encoding: "utf8" }));
    if (uid === 0) {
      expect(() => readAccount(undefined)).toThrow("a job never runs as root");
      return;
    }
    const account = readAccount(undefined);
    expect(account.name).toBe(execFileSync("id", ["-un"], { encoding: "utf8" }).trim());
    const gids = execFileSync("id", ["-G"], { encoding: "utf8" }).trim().split(" ").map(Number);
    expect(new Set([account.gid, ...account.groups.map(({ gid }) => gid)])).toEqual(
      new Set([account.gid, ...gids.filter((gid) => gid !== 0)]),
    );
  });
});

describe("readAccount, of somebody else", () => {
  const directory = { passwd: "bob:*:30000:100:Bob:/home/bob:/bin/bash" };

  it.each(["bob", 30_000, "30000"])("finds %s by name or uid", (who) => {
    const source = hostOf({
      ids: root,
      self: { name: "root", home: "/root", shell: "" },
      directory,
      group,
      groupsOf: [100, 500],
    });
    expect(readAccount(who, source)).toEqual({
      name: "bob",
      uid: 30_000,
      gid: 100,
      groupName: "users",
      gecos: "Bob",
      home: "/home/bob",
      shell: "/bin/bash",
      groups: [{ gid: 500, name: "project" }],
    });
    expect(source.asked).toContain("id -G bob");
  });

  it("takes a uid without an account", () => {
    expect(readAccount("4242", hostOf({ ids: root }))).toMatchObject({
      name: "u4242",
      uid: 4242,
      gid: 4242,
      home: "/",
    });
  });

  it("is for root alone, but naming oneself is no matter", () => {
    expect(() => readAccount("bob", hostOf({ directory }))).toThrow("only root may run a job as another user");
    expect(readAccount("alice", hostOf({})).uid).toBe(1001);
    expect(readAccount(1001, hostOf({})).uid).toBe(1001);
  });

  it("says that there is no such user", () => {
    expect(() => readAccount("nobody-knows", hostOf({ ids: root }))).toThrow('there is no user "nobody-knows"');
  });

  it("finds what getent and id of this host find", () => {
    const source = { ids: () => root };
    const line = execFileSync("getent", ["passwd"], { encoding: "utf8" })
      .split("\n")
      .find((text) => Number(text.split(":")[2]) > 0 && Number(text.split(":")[3]) > 0);
    const [name = "", , uid, gid] = line?.split(":") ?? [];
    const real = readAccount(name, { ...hostOf({ ids: root }), ...source, ...realLookups });
    expect(real).toMatchObject({ name, uid: Number(uid), gid: Number(gid) });
  });
});

const realLookups: Pick<AccountSource, "getent" | "groupsOf"> = {
  getent: (database, keys) => {
    try {
      return execFileSync("getent", [database, ...keys], { encoding: "utf8" });
    } catch {
      return "";
    }
  },
  groupsOf: (name) => execFileSync("id", ["-G", name], { encoding: "utf8" }).trim().split(" ").map(Number),
};

describe("what cannot be an account", () => {
  it("refuses root, however it is called", () => {
    const source = hostOf({
      ids: root,
      self: { name: "root", home: "/root", shell: "" },
      directory: { passwd: "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh" },
    });
    for (const who of [undefined, "root", 0, "0", "toor", "00"]) {
      expect(() => readAccount(who, source)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining("--user") as string }),
      );
    }
  });

  it("takes ids up to the engines' limit", () => {
    const at = (uid: number, gid: number, groups: number[] = []) =>
      readAccount(undefined, hostOf({ ids: { uid, gid, groups } }));
    expect(at(MAX_ID, MAX_ID, [MAX_ID]).uid).toBe(MAX_ID);
    for (const [uid, gid, groups] of [
      [MAX_ID + 1, 100, []],
      [1001, MAX_ID + 1, []],
      [1001, 100, [2 ** 32 - 2]],
    ] as const)
      expect(() => at(uid, gid, [...groups])).toThrow("the engines' own limit");
    expect(() => at(1001, 0)).toThrow("root's (gid 0)");
  });

  it.each(["a:b", "a\nb", "", "a,b", "-a", "+a", "#a", " a", "a\u0000", "a\u007f"])("refuses the name %j", (name) => {
    const source = hostOf({ self: { name, home: "/home/x", shell: "/bin/sh" } });
    expect(() => readAccount(undefined, source)).toThrow(GangwayError);
    expect(() => readAccount(name, hostOf({ ids: root, directory: { passwd: name } }))).toThrow(GangwayError);
  });

  it("takes the names that directory services give", () => {
    for (const name of ["DOM\\alice", "alice@site.org", "alice smith", "müller", "host$"])
      expect(readAccount(undefined, hostOf({ self: { name, home: "/h", shell: "" } })).name).toBe(name);
  });

  it("refuses a home that would end its field", () => {
    expect(() => readAccount(undefined, hostOf({ self: { name: "a", home: "/h:x", shell: "" } }))).toThrow("home");
  });
});
