import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { command } from "../../src/cli/gc.ts";
import { asUser } from "../../src/config/identity.ts";
import { formatIdentity, thisProcess } from "../../src/job/process.ts";

/*
 * A Slurm epilog's call, for a user who has made a run directory by hand, with all that root may be led into. The engine is
 * the user's own, too. Of the accounts that every Debian has, one that nothing runs as.
 */
const UID = Number(execFileSync("id", ["-u", "games"], { encoding: "utf8" }));
const user = { uid: UID, gid: Number(execFileSync("id", ["-g", "games"], { encoding: "utf8" })), groups: [] };
const base = `/dev/shm/gangway-${UID}`;
const servers: Server[] = [];
let engines: string;
let victim: ChildProcess | undefined;

beforeEach(() => {
  expect(existsSync(base)).toBe(false);
  asUser(user, () => mkdirSync(base, { mode: 0o700 }));
  engines = mkdtempSync("/dev/shm/gangway-engine-");
  chownSync(engines, user.uid, user.gid);
});

afterEach(async () => {
  if (victim?.exitCode === null && victim.signalCode === null) {
    victim.kill("SIGKILL");
    await once(victim, "exit");
  }
  victim = undefined;
  for (const server of servers.splice(0)) server.close();
  rmSync(base, { recursive: true, force: true });
  rmSync(engines, { recursive: true });
});

/** @returns what the command failed with */
async function collect(job: string): Promise<unknown> {
  const words = ["--user", String(UID), "--job", job, "--engine", `unix://${engines}/%U.sock`];
  return await command()
    .parseAsync(words, { from: "user" })
    .then(
      () => undefined,
      (error: unknown) => error,
    );
}

function makeJob(id: string, launcher: string): string {
  return asUser(user, () => {
    const directory = join(base, id);
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, "launcher"), launcher);
    return directory;
  });
}

async function sleeper(...ids: readonly string[]): Promise<string> {
  victim = spawn("setpriv", [...ids, "sh", "-c", "echo; exec sleep 600"], { stdio: ["ignore", "pipe", "ignore"] });
  if (victim.stdout !== null) await once(victim.stdout, "data");
  const { host, start } = thisProcess();
  const stat = execFileSync("cat", [`/proc/${victim.pid}/stat`], { encoding: "utf8" });
  const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return formatIdentity({ host, pid: victim.pid ?? 0, start: `${ticks}@${start.split("@")[1]}` });
}

function isAlive(): boolean {
  return victim?.exitCode === null && victim.signalCode === null;
}

async function listen(path: string, greeting: (write: (text: string) => boolean) => void): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    greeting((text) => socket.writable && socket.write(text));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  chownSync(path, user.uid, user.gid);
}

describe("gc --job, of a user who names a process as the launcher", () => {
  it("that is root's: it lives on", async () => {
    makeJob("77", await sleeper("--no-new-privs"));
    expect(String(await collect("77"))).toContain(`process ${victim?.pid} is not killed`);
    expect(isAlive()).toBe(true);
  });

  it("that is the user's: it is killed", async () => {
    makeJob("77", await sleeper(`--reuid=${UID}`, `--regid=${user.gid}`, "--clear-groups"));
    await collect("77");
    expect(victim?.signalCode).toBe("SIGKILL");
  });

  it("that is the user's, in another job's directory: it lives on", async () => {
    makeJob("78", await sleeper(`--reuid=${UID}`, `--regid=${user.gid}`, "--clear-groups"));
    await collect("77");
    expect(isAlive()).toBe(true);
  });

  it("and has a launcher's socket talk without end: root hears 64 KiB of it", async () => {
    const launcher = await sleeper(`--reuid=${UID}`, `--regid=${user.gid}`, "--clear-groups");
    const directory = makeJob("77", launcher);
    let sent = 0;
    await listen(join(directory, "launcher.sock"), (write) => {
      const more = () => {
        // What is taken from the kernel, and one buffer more.
        if (sent < 64 * 1024 * 1024 && write("x".repeat(65_536))) setImmediate(more);
        sent += 65_536;
      };
      more();
    });
    await collect("77");
    expect(sent).toBeLessThan(1024 * 1024);
    expect(victim?.signalCode).toBe("SIGKILL");
  });
});

describe("gc, of a user whose own engine", () => {
  const deadJob = () => makeJob("dead", formatIdentity({ ...thisProcess(), start: "1@0" }));

  it("never answers: it is left after 10 s, and the directories are cleared", async () => {
    deadJob();
    await listen(join(engines, `${UID}.sock`), () => undefined);
    expect(String(await collect("77"))).toContain("does not answer");
    expect(readdirSync(base)).toEqual([]);
  });

  it("answers without end: it is left after 64 MiB at most, and the directories are cleared", async () => {
    deadJob();
    await listen(join(engines, `${UID}.sock`), (write) => {
      write("HTTP/1.1 200 OK\r\n\r\n");
      const more = () => {
        if (write(" ".repeat(1024 * 1024))) setImmediate(more);
        else if (servers.length > 0) setTimeout(more, 1);
      };
      more();
    });
    expect(String(await collect("77"))).toMatch(/answer is too long|does not answer/);
    expect(readdirSync(base)).toEqual([]);
  });
});
