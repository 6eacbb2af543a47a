import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { virtualNodes } from "../../src/allocation/allocation.ts";
import { GangwayError, UsageError } from "../../src/config/errors.ts";
import { callerIdentity } from "../../src/config/identity.ts";
import { Deferred, LongTimer, unlessAborted, within } from "../../src/job/deferred.ts";
import { readEnd, recordEnd } from "../../src/job/ended.ts";
import { containerName, lookName, randomJobId } from "../../src/job/id.ts";
import { checkImageVolumes, checkTarget, checkVolume } from "../../src/job/mounts.ts";
import { formatIdentity, isGone, parseIdentity, thisProcess } from "../../src/job/process.ts";
import { isJobId } from "../../src/udi/names.ts";

const scratch = mkdtempSync(join(tmpdir(), "gangway-unit-"));
afterAll(() => rmSync(scratch, { recursive: true }));

describe("a process's identity", () => {
  it("survives being written down", () => {
    const own = thisProcess();
    expect(parseIdentity(formatIdentity(own))).toEqual(own);
    expect(own.pid).toBe(process.pid);
  });

  it("tells the living from the gone, and from others with the same number", () => {
    const own = thisProcess();
    expect(isGone(own)).toBe(false);
    expect(isGone({ ...own, start: own.start.replace(/^\d+/, "1") })).toBe(true);
    expect(isGone({ ...own, start: own.start.replace(/@.*/, "@0") })).toBe(true);
    expect(isGone({ ...own, pid: 2 ** 22 + 1 })).toBe(true);
  });

  it("says nothing of other hosts", () => {
    expect(isGone({ ...thisProcess(), host: `not-${hostname()}`, pid: 2 ** 22 + 1 })).toBe(false);
  });

  it("is undefined for anything else", () => {
    for (const text of ["", "1", "1:2", "x:1@0:h", "1:1:h", ":1@0:h", "1:1@0:"])
      expect(parseIdentity(text)).toBeUndefined();
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const identity = parseIdentity(text);
        if (identity !== undefined) expect(formatIdentity(identity)).toBe(text.replace(/^0+(?=\d)/, ""));
      }),
    );
  });
});

describe("job ids", () => {
  it("by chance are ids, and no workload manager's", () => {
    for (let round = 0; round < 1000; round++) {
      const id = randomJobId();
      expect(isJobId(id)).toBe(true);
      expect(id).toMatch(/^[a-z][a-z2-9]{5}$/);
    }
  });

  it("give every container a name that engines take, and no two the same", () => {
    const label = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_+-]{0,20}[A-Za-z0-9]$/);
    const node = fc.record({ uid: fc.nat(99_999), job: label, index: fc.nat(255) });
    fc.assert(
      fc.property(node, node, (a, b) => {
        const names = [a, b].map(({ uid, job, index }) => containerName(uid, job, index));
        for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/);
        const same = a.uid === b.uid && a.job === b.job && a.index === b.index;
        expect(names[0] === names[1]).toBe(same);
        expect(names).not.toContain(lookName(a.uid, a.job));
      }),
    );
  });
});

describe("virtual nodes", () => {
  it("are numbered from 1", () => {
    expect(virtualNodes(2, 3).nodes).toEqual([
      { index: 0, name: "node1", slots: 3 },
      { index: 1, name: "node2", slots: 3 },
    ]);
  });

  it.each([0, 257, -1, 1.5, Number.NaN])("%d of them cannot be had", (count) => {
    expect(() => virtualNodes(count, 1)).toThrow(UsageError);
  });
});

describe("places in the container", () => {
  it.each([
    "/",
    "/opt",
    "/opt/udiImage",
    "/opt/udiImage/bin/ssh",
    "/run",
    "/run/gangway/x",
    "/etc",
    "/etc/hosts",
    "/var",
  ])("%s is taken", (target) => expect(() => checkTarget("it", target)).toThrow(/^it would cover /));

  it.each([
    "/optical",
    "/opt/udiImage2",
    "/run/other",
    "/etc/hosts.d",
    "/etc/profile.d/mine.sh",
    "/home/x",
    "/var/tmp",
  ])("%s is free", (target) => expect(() => checkTarget("it", target)).not.toThrow());

  it("a volume's source must be there", () => {
    checkVolume({ source: scratch, target: "/x", readOnly: true }, "/run/user/1/gangway");
    const missing = { source: join(scratch, "none"), target: "/x", readOnly: true };
    expect(() => checkVolume(missing, "/run/user/1/gangway")).toThrow(/does not exist on this host/);
  });

  it("a volume may not show the private files of jobs, nor lie in them", () => {
    for (const source of [scratch, join(scratch, "..")]) {
      const volume = { source, target: "/x", readOnly: true };
      expect(() => checkVolume(volume, join(realpathSync(scratch), "gangway-1"))).toThrow(/private files/);
    }
  });

  it("an image's own volume may not lie in what is ours; above it, and elsewhere, it may", () => {
    for (const place of [
      "/opt/udiImage",
      "/opt/udiImage/libexec",
      "/run/gangway/a/b",
      "/etc/passwd",
      "/opt//udiImage/",
    ]) {
      expect(() => checkImageVolumes("img", [place])).toThrow(/VOLUME/);
    }
    expect(() => checkImageVolumes("img", ["/data", "/var", "/opt", "/var/lib/x"])).not.toThrow();
  });
});

describe("the record of an ended job", () => {
  it("is found again; damaged or missing ones are none; others in the directory do not matter", () => {
    mkdirSync(join(scratch, "jobs"));
    writeFileSync(join(scratch, "jobs/broken.json"), "{");
    const ended = { job: "x1", exitCode: 3, outputFile: "/o", ended: new Date(0).toISOString() };
    recordEnd(scratch, ended);
    expect(readEnd(scratch, "x1", callerIdentity())).toEqual(ended);
    expect(readEnd(scratch, "broken", callerIdentity())).toBeUndefined();
    expect(readEnd(scratch, "none", callerIdentity())).toBeUndefined();
  });

  it.each<[string, unknown]>([
    ["null", null],
    ["of another job", { job: "other" }],
    ["with an exit code that is a terminal's order", { exitCode: "\u001b[31m" }],
    ["with an exit code that would wrap to 0", { exitCode: 256 }],
    ["with a file's name of two lines", { outputFile: "/a\nb" }],
    ["with a time that is none", { ended: "\u001b]0;x\u0007" }],
  ])("that is %s is none", (_what, changed) => {
    const whole = { job: "odd", exitCode: 3, outputFile: "/o", ended: new Date(0).toISOString() };
    const place = join(scratch, "jobs/odd.json");
    mkdirSync(join(scratch, "jobs"), { recursive: true });
    writeFileSync(place, JSON.stringify(whole));
    expect(readEnd(scratch, "odd", callerIdentity())).toEqual(whole);
    writeFileSync(place, JSON.stringify(changed === null ? null : { ...whole, ...(changed as object) }));
    expect(readEnd(scratch, "odd", callerIdentity())).toBeUndefined();
  });

  it("forgets what is old, and stumbles over nothing that it cannot remove", () => {
    const jobs = join(scratch, "old/jobs");
    for (const name of ["a", "z"]) {
      mkdirSync(join(jobs, name), { recursive: true });
      writeFileSync(join(jobs, `${name}.json`), "");
      utimesSync(join(jobs, name), 0, 0);
      utimesSync(join(jobs, `${name}.json`), 0, 0);
    }
    recordEnd(join(scratch, "old"), { job: "x1", exitCode: 3, outputFile: "/o", ended: new Date(0).toISOString() });
    expect(readdirSync(jobs).sort()).toEqual(["a", "x1.json", "z"]);
  });

  it("is noted while other jobs of the user's end, whose files come and go", async () => {
    const directory = join(scratch, "busy/jobs");
    mkdirSync(directory, { recursive: true });
    const script = `const fs = require("fs"); process.stdout.write("go");
      for (let n = 0; ; n++) { fs.writeFileSync("a.json." + n, ""); fs.renameSync("a.json." + n, "a.json"); }`;
    const ended = new Date(0).toISOString();
    const other = spawn(process.execPath, ["-e", script], { cwd: directory });
    try {
      await once(other.stdout, "data");
      for (let exitCode = 0; exitCode < 500; exitCode++) {
        recordEnd(join(scratch, "busy"), { job: "x1", exitCode: exitCode % 256, outputFile: "/o", ended });
      }
    } finally {
      other.kill("SIGKILL");
      await once(other, "exit");
    }
    expect(readEnd(join(scratch, "busy"), "x1", callerIdentity())).toMatchObject({ exitCode: 499 % 256 });
  });
});

describe("waiting", () => {
  it("is limited", async () => {
    const never = new Promise<never>(() => undefined);
    await expect(within(never, 10, () => new GangwayError("late"))).rejects.toThrow("late");
    await expect(within(Promise.resolve(5), 1000, () => new GangwayError("late"))).resolves.toBe(5);
    await expect(within(Promise.reject(new Error("early")), 1000, () => new Error("late"))).rejects.toThrow("early");
  });

  it("can be broken off", async () => {
    const controller = new AbortController();
    const waiting = unlessAborted(new Promise<never>(() => undefined), controller.signal);
    controller.abort(new GangwayError("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(unlessAborted(Promise.resolve(1), controller.signal)).rejects.toThrow("enough");
    await expect(unlessAborted(Promise.resolve(1), new AbortController().signal)).resolves.toBe(1);
  });

  it("for longer than Node's timers last does not end at once", async () => {
    let rang = false;
    const timer = new LongTimer(2 ** 40, () => {
      rang = true;
    });
    await sleep(20);
    timer.clear();
    expect(rang).toBe(false);
  });

  it("for something that fails before anybody listens is no unhandled rejection", async () => {
    const deferred = new Deferred<number>();
    deferred.reject(new Error("unheard"));
    await sleep(5);
    await expect(deferred.promise).rejects.toThrow("unheard");
  });
});
