import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { callerIdentity } from "../../src/config/identity.ts";
import {
  collectIndex,
  foreignEntries,
  indexDirectory,
  indexFiles,
  readIndex,
  removeIndexEntry,
  writeIndexEntry,
} from "../../src/job/index-entry.ts";
import type { RunningLocalJob } from "../../src/job/local-jobs.ts";
import { formatIdentity, type ProcessIdentity, thisProcess } from "../../src/job/process.ts";
import { generateAuthority } from "../../src/udi/keys.ts";

const me = callerIdentity();
const dead = { ...thisProcess(), pid: 2 ** 22 + 1 };
const authority = generateAuthority("authority of job 7").publicKey;
let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "gangway unit's-"));
});
afterEach(() => rmSync(home, { recursive: true }));

function makeIndex(): void {
  mkdirSync(indexDirectory(home), { recursive: true, mode: 0o700 });
}

function job(id: string, launcher: ProcessIdentity = thisProcess()): RunningLocalJob {
  const directory = `/run/user/1/gangway/${id}`;
  const node = { name: "Node1", slots: 1, port: 1204, addresses: ["10.0.0.1"] };
  return {
    id,
    directory,
    state: "running",
    launcher,
    record: {
      job: id,
      image: "i",
      command: ["c"],
      user: "alice",
      workdir: "/",
      sshd: true,
      authority,
      udiImage: "/opt/udiImage",
      launcher: formatIdentity(launcher),
      started: "2026-01-01T00:00:00Z",
      nodes: [{ ...node, here: true, container: "c" }],
    },
    nodes: [{ ...node, index: 0, principal: `Node1.${id}.job`, socket: `${directory}/0/ssh` }],
  };
}

/** What ssh makes of a host with an entry as its configuration. */
function settings(conf: string, host: string): string {
  return execFileSync("ssh", ["-G", "-F", conf, host], { encoding: "utf8" });
}

describe("the index in the user's home", () => {
  it("is written only where it was asked for", () => {
    expect(writeIndexEntry(me, home, job("7"))).toBe(false);
    expect(readdirSync(home)).toEqual([]);
  });

  it("knows a node by its number, too, where the name has one reading", () => {
    makeIndex();
    writeIndexEntry(me, home, job("lap"));
    expect(settings(indexFiles(home, "lap").conf, "0.lap.job")).toContain("\nhostkeyalias node1.lap.job\n");
  });

  it("has an entry for a running job: ssh reads how to reach it, we read where it is", () => {
    makeIndex();
    expect(writeIndexEntry(me, home, job("7"))).toBe(true);
    const { conf, hosts } = indexFiles(home, "7");
    for (const host of ["7.job", "Node1.7.job", "node1.7.job"]) {
      const read = settings(conf, host);
      expect(read).toContain("\nhostkeyalias node1.7.job\n");
      const key = "/run/user/1/gangway/7/kit/id_ed25519";
      const connector = `/opt/udiImage/libexec/connector --kit ${key} ${thisProcess().host}`;
      expect(read).toContain(`proxycommand ${connector} /run/user/1/gangway/7/0/ssh\n`);
      expect(read).toContain(hosts);
    }
    expect(settings(conf, "0.7.job")).not.toContain("node1.7.job");
    expect(settings(conf, "8.job")).not.toContain("connector");
    expect(readFileSync(hosts, "utf8")).toBe(`@cert-authority * ${authority.split(" ").slice(0, 2).join(" ")}\n`);
    expect(readIndex(me, home)).toMatchObject([
      {
        job: "7",
        host: thisProcess().host,
        launcher: thisProcess(),
        user: "alice",
        directory: "/run/user/1/gangway/7",
        nodes: [{ name: "Node1", principal: "Node1.7.job", socket: "/run/user/1/gangway/7/0/ssh" }],
      },
    ]);
  });

  it("leads from one host of a job to another by TCP, in the same words on each of them", () => {
    makeIndex();
    const { nodes, ...rest } = job("7");
    const [head] = nodes;
    const other = {
      ...head,
      name: "n2",
      index: 1,
      slots: 1,
      principal: "n2.7.job",
      port: 20_007,
      addresses: ["fd00::2"],
      socket: undefined,
    };
    const { conf } = indexFiles(home, "7");
    writeIndexEntry(me, home, { ...rest, nodes: [...nodes, other] });
    expect(settings(conf, "7.job")).toMatch(/^proxycommand .*\/7\/0\/ssh 10\.0\.0\.1 1204$/m);
    expect(settings(conf, "n2.7.job")).toMatch(/^proxycommand .*\/7\/1\/ssh fd00::2 20007$/m);
    const there = nodes.map((node) => ({ ...node, socket: undefined }));
    const written = readFileSync(conf, "utf8");
    writeIndexEntry(me, home, { ...rest, nodes: [...there, { ...other, socket: "/run/user/1/gangway/7/1/ssh" }] });
    expect(readFileSync(conf, "utf8")).toBe(written);
  });

  it("has files that ssh takes whatever the umask, and nothing half written beside them", () => {
    makeIndex();
    const before = process.umask(0o002);
    try {
      writeIndexEntry(me, home, job("7"));
    } finally {
      process.umask(before);
    }
    for (const path of Object.values(indexFiles(home, "7"))) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(indexDirectory(home)).sort()).toEqual(["7.conf", "7.hosts"]);
  });

  it.each(["a link", "writable by the group"])("is not used when it is %s", (fault) => {
    const real = join(home, "real");
    mkdirSync(real, { mode: 0o700 });
    mkdirSync(join(home, ".gangway/ssh"), { recursive: true });
    if (fault === "a link") symlinkSync(real, indexDirectory(home));
    else {
      mkdirSync(indexDirectory(home));
      chmodSync(indexDirectory(home), 0o770);
    }
    expect(writeIndexEntry(me, home, job("7"))).toBe(false);
    expect(readdirSync(indexDirectory(home))).toEqual([]);
    expect(readIndex(me, home)).toEqual([]);
  });

  it("forgets a job at its end, by its own launcher alone", () => {
    makeIndex();
    writeIndexEntry(me, home, job("7"));
    const other = generateAuthority("authority of another job 7").publicKey;
    removeIndexEntry(me, home, "7", { launcher: dead, authority: other });
    expect(existsSync(indexFiles(home, "7").conf)).toBe(true);
    removeIndexEntry(me, home, "7", { launcher: thisProcess() });
    expect(readdirSync(indexDirectory(home))).toEqual([]);
  });

  it("has one entry for a job of several hosts: its launcher's stays, and its launcher removes whichever it is", () => {
    makeIndex();
    const far = { ...thisProcess(), host: "another" };
    writeIndexEntry(me, home, job("7", far));
    expect(writeIndexEntry(me, home, job("7"))).toBe(true);
    expect(readIndex(me, home)).toMatchObject([{ job: "7", host: "another" }]);
    removeIndexEntry(me, home, "7", { launcher: thisProcess(), authority });
    expect(readIndex(me, home)).toEqual([]);
  });

  it("takes the place of an entry that another job of that id left on another host", () => {
    makeIndex();
    writeIndexEntry(me, home, job("7", { ...thisProcess(), host: "another" }));
    const other = generateAuthority("authority of another job 7").publicKey;
    writeFileSync(indexFiles(home, "7").hosts, `@cert-authority * ${other}\n`);
    writeIndexEntry(me, home, job("7"));
    expect(readIndex(me, home)).toMatchObject([{ job: "7", host: thisProcess().host }]);
  });

  it("loses what is stale: jobs of this host whose launchers are dead, halves of long ago, and nothing else", () => {
    makeIndex();
    writeIndexEntry(me, home, job("7"));
    writeIndexEntry(me, home, job("8", dead));
    writeIndexEntry(me, home, job("9", { ...dead, host: "another" }));
    for (const name of ["my-own.conf", "x.hosts", "x.conf.12.new", "notes"]) {
      writeFileSync(join(indexDirectory(home), name), "Host *\n");
      utimesSync(join(indexDirectory(home), name), 0, 0);
    }
    expect(collectIndex(me, home)).toEqual(["8"]);
    // Whether that one's launcher lives is not known here.
    expect(foreignEntries(me, home).map((entry) => [entry.job, entry.host])).toEqual([["9", "another"]]);
    expect(readdirSync(indexDirectory(home)).sort()).toEqual([
      "7.conf",
      "7.hosts",
      "9.conf",
      "9.hosts",
      "my-own.conf",
      "notes",
    ]);
  });

  it.each([
    ["another job's name", (text: string) => text.replace('"job":"7"', '"job":"8"')],
    ["no header", (text: string) => text.replace(/^.*\n/, "")],
    ["a damaged header", (text: string) => text.replace("{", "{{")],
    ["a socket that is no path", (text: string) => text.replace('"socket":"/', '"socket":"|')],
  ])("an entry with %s is none", (_what, damage) => {
    makeIndex();
    writeIndexEntry(me, home, job("7"));
    const { conf } = indexFiles(home, "7");
    writeFileSync(conf, damage(readFileSync(conf, "utf8")));
    expect(readIndex(me, home)).toEqual([]);
  });
});
