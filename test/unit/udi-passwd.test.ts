import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Account } from "../../src/udi/accounts.ts";
import { chooseShell, mergeGroup, mergePasswd, OWN_SHELL } from "../../src/udi/passwd.ts";

const alice: Account = {
  name: "alice",
  uid: 1001,
  gid: 100,
  groupName: "users",
  gecos: "Alice",
  home: "/home/alice",
  shell: "/bin/bash",
  groups: [
    { gid: 500, name: "project" },
    { gid: 501, name: "docker" },
  ],
};

const linesOf = (file: string) => file.split("\n").slice(0, -1);

/** The look-ups of the C library: the first line that fits. */
const byName = (file: string, name: string) => linesOf(file).find((line) => line.split(":")[0] === name);
const byId = (file: string, id: number) => linesOf(file).find((line) => line.split(":")[2] === String(id));

const nameArb = fc.oneof(
  fc.constantFrom("alice", "root", "nobody", "users", "docker", "project", "nogroup", "daemon"),
  fc.stringMatching(/^[a-z_][a-z0-9_-]{0,7}$/),
);
const idArb = fc.oneof(fc.constantFrom(0, 100, 500, 501, 1001, 65_534), fc.nat(2 ** 32 - 1));
const textArb = fc.stringMatching(/^[A-Za-z0-9 ,./-]{0,10}$/);
const passwdLine = fc
  .tuple(nameArb, idArb, idArb, textArb, textArb, textArb)
  .map(([name, uid, gid, gecos, home, shell]) => `${name}:x:${uid}:${gid}:${gecos}:${home}:${shell}`);
const groupLine = fc.tuple(nameArb, idArb, textArb).map(([name, gid, members]) => `${name}:x:${gid}:${members}`);
const junk = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom(
    "+::::::",
    "+@netgroup::::::",
    "-bad",
    "+:::",
    "# note",
    "",
    "a:b",
    "x:x:1:1:1:1:1:1:1",
    "x:x:-1:0:::",
  ),
);
const file = (line: fc.Arbitrary<string>) => fc.array(fc.oneof(line, line, junk)).map((lines) => lines.join("\n"));
const wellFormed = (line: fc.Arbitrary<string>) => fc.array(line);

describe("mergePasswd", () => {
  it("puts the account first, keeps the image's own, adds what is missing", () => {
    const image = "root:x:0:0:root:/root:/bin/ash\nbin:x:1:1:bin:/bin:/sbin/nologin\napp:x:1001:1001::/app:/bin/sh\n";
    expect(mergePasswd(image, alice, "/bin/sh")).toBe(
      [
        "alice:x:1001:100:Alice:/home/alice:/bin/sh",
        "root:x:0:0:root:/root:/bin/ash",
        "bin:x:1:1:bin:/bin:/sbin/nologin",
        "nobody:x:65534:65534:nobody:/:/sbin/nologin",
        "",
      ].join("\n"),
    );
  });

  it("works without a file in the image", () => {
    expect(linesOf(mergePasswd(undefined, alice, "/bin/sh"))).toEqual([
      "alice:x:1001:100:Alice:/home/alice:/bin/sh",
      "root:x:0:0:root:/root:/sbin/nologin",
      "nobody:x:65534:65534:nobody:/:/sbin/nologin",
    ]);
  });

  it("adds root where the image gave root's name to the account's uid", () => {
    const merged = mergePasswd("root:x:1001:0::/:/bin/sh\n", alice, "/bin/sh");
    expect(byName(merged, "root")).toMatch(/^root:x:0:0:/);
  });

  it("has one nobody when the account is nobody", () => {
    const merged = mergePasswd(undefined, { ...alice, name: "nobody", uid: 65_534 }, "/bin/sh");
    expect(linesOf(merged).filter((line) => line.startsWith("nobody:"))).toHaveLength(1);
  });

  it("drops NIS lines, comments, NULs and everything else that is no entry", () => {
    const bad = [
      "+::::::",
      "-evil::::::",
      "#c:x:1:1:::",
      "a:x:1:1::",
      "b:x:one:1:::",
      "c:x:1:x:::",
      "d\0:x:1:1:::",
      ":x:0:0:::",
    ];
    expect(linesOf(mergePasswd(bad.join("\n"), alice, "/bin/sh"))).toHaveLength(3);
    expect(linesOf(mergePasswd("crlf:x:7:7:::/bin/sh\r\n", alice, "/bin/sh"))[1]).toBe("crlf:x:7:7:::/bin/sh");
  });

  it("finds the user first whatever the image has", () => {
    fc.assert(
      fc.property(file(passwdLine), (image) => {
        const merged = mergePasswd(image, alice, "/bin/sh");
        const own = "alice:x:1001:100:Alice:/home/alice:/bin/sh";
        expect(byName(merged, "alice")).toBe(own);
        expect(byId(merged, 1001)).toBe(own);
        expect(byName(merged, "root")).toBeDefined();
        for (const line of linesOf(merged)) expect(line.split(":")).toHaveLength(7);
        expect(merged).not.toContain("\0");
      }),
    );
  });

  it("loses no foreign line, keeps their order, and does nothing the second time", () => {
    fc.assert(
      fc.property(wellFormed(passwdLine), (lines) => {
        const foreign = lines.filter((line) => !line.startsWith("alice:") && line.split(":")[2] !== "1001");
        const merged = mergePasswd(lines.join("\n"), alice, "/bin/sh");
        expect(linesOf(merged).slice(1, 1 + foreign.length)).toEqual(foreign);
        expect(mergePasswd(merged, alice, "/bin/sh")).toBe(merged);
      }),
    );
  });

  it("takes 10 MB and NULs", () => {
    const line = "user:x:70000:70000:A User:/home/user:/bin/sh\n";
    const big = line.repeat(10_000_000 / line.length);
    expect(mergePasswd(big, alice, "/bin/sh").length).toBeGreaterThan(9_900_000);
    expect(linesOf(mergePasswd("\0".repeat(10_000_000), alice, "/bin/sh"))).toHaveLength(3);
    expect(linesOf(mergePasswd("x".repeat(10_000_000), alice, "/bin/sh"))).toHaveLength(3);
    expect(linesOf(mergeGroup(":".repeat(10_000_000), alice))).toHaveLength(5);
  });
});

describe("mergeGroup", () => {
  it("has every group of the account before the image's own", () => {
    const image = "root:x:0:root\nadm:x:4:syslog\ndocker:x:101:\nother:x:500:bob\n";
    expect(linesOf(mergeGroup(image, alice))).toEqual([
      "users:x:100:",
      "project:x:500:alice",
      "docker:x:501:alice",
      "root:x:0:root",
      "adm:x:4:syslog",
      "nogroup:x:65534:",
    ]);
  });

  it("works without a file in the image", () => {
    expect(linesOf(mergeGroup(undefined, { ...alice, groups: [] }))).toEqual([
      "users:x:100:",
      "root:x:0:",
      "nogroup:x:65534:",
    ]);
  });

  it("gives no name and no gid twice", () => {
    const odd: Account = {
      ...alice,
      groups: [
        { gid: 100, name: "again" },
        { gid: 500, name: "users" },
        { gid: 500, name: "twice" },
      ],
    };
    expect(linesOf(mergeGroup(undefined, odd)).slice(0, 3)).toEqual(["users:x:100:", "g500:x:500:alice", "root:x:0:"]);
  });

  it("finds the account's groups first whatever the image has", () => {
    fc.assert(
      fc.property(file(groupLine), (image) => {
        const merged = mergeGroup(image, alice);
        expect(byId(merged, 100)).toBe("users:x:100:");
        expect(byName(merged, "users")).toBe("users:x:100:");
        for (const { gid, name } of alice.groups) {
          expect(byId(merged, gid)).toBe(`${name}:x:${gid}:alice`);
          expect(byName(merged, name)).toBe(`${name}:x:${gid}:alice`);
        }
        for (const line of linesOf(merged)) expect(line.split(":")).toHaveLength(4);
      }),
    );
  });

  it("loses no foreign line, keeps their order, and does nothing the second time", () => {
    const names = new Set(["users", "project", "docker"]);
    const gids = new Set(["100", "500", "501"]);
    fc.assert(
      fc.property(wellFormed(groupLine), (lines) => {
        const foreign = lines.filter(
          (line) => !names.has(line.split(":")[0] ?? "") && !gids.has(line.split(":")[2] ?? ""),
        );
        const merged = mergeGroup(lines.join("\n"), alice);
        expect(linesOf(merged).slice(3, 3 + foreign.length)).toEqual(foreign);
        expect(mergeGroup(merged, alice)).toBe(merged);
      }),
    );
  });
});

describe("chooseShell", () => {
  const image =
    (...paths: string[]) =>
    (path: string) =>
      paths.includes(path);

  it("takes the account's own where the image has it", () => {
    expect(chooseShell("/bin/zsh", image("/bin/zsh", "/bin/bash", "/bin/sh"))).toBe("/bin/zsh");
  });

  it("falls back to bash, sh and the udiImage's", () => {
    expect(chooseShell("/bin/zsh", image("/bin/bash", "/bin/sh"))).toBe("/bin/bash");
    expect(chooseShell("/bin/zsh", image("/bin/sh"))).toBe("/bin/sh");
    expect(chooseShell("/bin/zsh", image())).toBe(OWN_SHELL);
  });

  it.each(["", "/sbin/nologin", "/usr/sbin/nologin", "/bin/false", "bash", "/bin/sync"])(
    "does not take %j",
    (shell) => {
      expect(chooseShell(shell, () => true)).toBe("/bin/bash");
    },
  );
});
