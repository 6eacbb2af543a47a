import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { GANGWAY, gangway, run, USER } from "./harness.ts";
import { CLIENTS, withJob } from "./reach.ts";

/*
 * ssh-config: one line in the user's own file, which harms no other host; and its undoing, byte for byte. The home is that of
 * the account, since it is what ssh reads.
 */

const SSH = join(USER.home, ".ssh");
const CONFIG = join(SSH, "config");

/** Everything below a directory: names, modes, links, bytes; but for the entries of jobs, as others' may come and go. */
function treeOf(path: string): unknown {
  const state = lstatSync(path, { throwIfNoEntry: false });
  if (state === undefined) return undefined;
  if (state.isSymbolicLink()) return readlinkSync(path);
  if (!state.isDirectory()) return [(state.mode & 0o777).toString(8), readFileSync(path, "latin1")];
  const names = readdirSync(path).filter((name) => name !== "jobs");
  return Object.fromEntries(names.map((name) => [name, treeOf(join(path, name))]));
}

/** Runs as the user whose home it is: files made by root would be refused. */
async function asUser(script: string): Promise<void> {
  const { code, stderr } = await run(["sh", "-c", `cd; ${script}`]);
  if (code !== 0) throw new Error(stderr);
}

afterEach(async () => {
  await gangway(["ssh-config", "--uninstall"]);
  for (const path of [SSH, join(USER.home, ".gangway"), join(USER.home, "elsewhere")]) {
    rmSync(path, { recursive: true, force: true });
  }
});

test.each([
  ["nothing there", "true"],
  ["an empty directory", "mkdir -m 700 .ssh"],
  ["an empty file", "mkdir -m 700 .ssh; : >.ssh/config"],
  ["an ordinary file", "mkdir -m 700 .ssh; printf 'Host *\\n  Compression yes\\n' >.ssh/config; chmod 600 .ssh/config"],
  ["CRLF", "mkdir -m 700 .ssh; printf 'Host *\\r\\n  Compression yes\\r\\n' >.ssh/config"],
  ["no final newline", "mkdir -m 700 .ssh; printf 'Host *\\n  Compression yes' >.ssh/config"],
  ["bytes that are no UTF-8", "mkdir -m 700 .ssh; printf '# \\377\\376\\n' >.ssh/config"],
  ["a file that is read-only", "mkdir -m 700 .ssh; echo '# x' >.ssh/config; chmod 400 .ssh/config"],
  ["a link", "mkdir -m 700 .ssh elsewhere; echo '# x' >elsewhere/c; ln -s ../elsewhere/c .ssh/config"],
  ["a link to nothing yet", "mkdir -m 700 .ssh elsewhere; ln -s ../elsewhere/c .ssh/config"],
])("install and undo: %s", async (_name, script) => {
  await asUser(script);
  const before = [treeOf(SSH), treeOf(join(USER.home, "elsewhere"))];
  const first = await run(["sh", "-c", `umask 002; exec ${GANGWAY} ssh-config --install`]);
  expect(first).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(CONFIG, "latin1")).toContain("Include ~/.gangway/ssh/config");
  // Other tests work in the home, too.
  const places = [SSH, join(USER.home, ".gangway"), join(USER.home, "elsewhere")];
  const installed = places.map(treeOf);
  expect((await gangway(["ssh-config", "--install"])).stdout).toBe("nothing had to be changed\n");
  expect(places.map(treeOf)).toEqual(installed);
  for (const ssh of CLIENTS) {
    expect((await run([ssh, "-G", "gone.job"])).stdout).toContain(`proxycommand ${GANGWAY} proxy --explain '%h'\n`);
  }
  expect(await gangway(["ssh-config", "--uninstall"])).toMatchObject({ code: 0, stderr: "" });
  expect([treeOf(SSH), treeOf(join(USER.home, "elsewhere"))]).toEqual(before);
  expect(treeOf(join(USER.home, ".gangway"))).toBe(undefined);
});

test("what cannot be changed is left as it is, and said", async () => {
  await asUser("mkdir -m 700 .ssh; echo '# x' >.ssh/config; chmod 500 .ssh");
  const before = treeOf(SSH);
  const result = await gangway(["ssh-config", "--install"]);
  expect(result.code).toBe(125);
  expect(result.stderr).toContain(`${CONFIG} cannot be changed`);
  expect(treeOf(SSH)).toEqual(before);
  expect(treeOf(join(USER.home, ".gangway"))).toBe(undefined);
  chmodSync(SSH, 0o700);
});

test("a block that was damaged by hand is not guessed at", async () => {
  await asUser("mkdir -m 700 .ssh; printf '# >>> gangway >>>\\nHost a\\n' >.ssh/config");
  const before = treeOf(SSH);
  for (const option of ["--install", "--uninstall"]) {
    const result = await gangway(["ssh-config", option]);
    expect(result.code).toBe(125);
    expect(result.stderr).toContain("the marks of gangway's block do not match");
  }
  expect(treeOf(SSH)).toEqual(before);
});

test("an index that is a link to somewhere else is refused", async () => {
  mkdirSync(join(USER.home, "elsewhere"));
  symlinkSync(join(USER.home, "elsewhere"), join(USER.home, ".gangway"));
  const result = await gangway(["ssh-config", "--install"]);
  expect(result.code).toBe(125);
  expect(result.stderr).toContain("is not a directory of your own");
  expect(treeOf(SSH)).toBe(undefined);
});

const CONFIGS = [
  "",
  "Host *\n  User me\n  ForwardAgent yes\n",
  "User me\nPort 2222\nHost b*\n  ProxyJump gate\n",
  "Match originalhost example.org exec true\n  Compression yes\nMatch all\n  ServerAliveInterval 7\n",
  "CanonicalizeHostname no\nHost example.org\n  HostName 10.0.0.1\n  ControlMaster auto\n  ControlPath ~/c-%C\n",
];

test("the Include changes nothing for any other host", async () => {
  const hosts = ["example.org", "b.example", "localhost", "10.0.0.9", "job", "x.jobs"];
  for (const config of CONFIGS) {
    await asUser("mkdir -p -m 700 .ssh");
    writeFileSync(CONFIG, config);
    for (const ssh of CLIENTS) {
      const ask = async () => await Promise.all(hosts.map(async (host) => (await run([ssh, "-G", host])).stdout));
      const before = await ask();
      await gangway(["ssh-config", "--install"]);
      expect(await ask()).toEqual(before);
      await gangway(["ssh-config", "--uninstall"]);
    }
  }
});

test("jobs that run already, and those that start later, are reached by plain ssh until they end", async () => {
  await withJob("reach-before", [], async () => {
    expect((await gangway(["ssh-config", "--install"])).stdout).toMatch(/these run already: .*\breach-before\.job\b/);
    await withJob("reach-after", ["--nodes", "2"], async () => {
      for (const ssh of CLIENTS) {
        for (const [host, name] of [
          ["reach-before.job", "node1"],
          ["reach-after.job", "node1"],
          ["node2.reach-after.job", "node2"],
        ] as const) {
          expect(await run([ssh, host, "hostname; exit 3"])).toMatchObject({
            code: 3,
            stdout: `${name}\n`,
            stderr: "",
          });
        }
      }
    });
  });
  expect(readdirSync(join(USER.home, ".gangway/ssh/jobs")).filter((name) => name.includes("reach-"))).toEqual([]);
});
