// The X authorities of sessions: sshd writes and removes them, init removes those of an sshd that could not.
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { byUnix, hold, leave } from "./clients.ts";
import { buildAll, Started, until } from "./helpers.ts";

const { init } = buildAll();
afterEach(leave);

async function pidOf(client: ReturnType<typeof byUnix>): Promise<number> {
  return Number(/pid (\d+)/.exec(await client.ask("pid"))?.[1]);
}

describe("the files of X authorities", () => {
  it("have a directory of the user's alone", async () => {
    const { runDir } = await hold();
    expect(statSync(join(runDir, "x11")).mode & 0o777).toBe(0o700);
  });

  it("go with the sshd that they are named after, and no others", async () => {
    const { runDir } = await hold();
    const directory = join(runDir, "x11");
    const [one, other] = [await byUnix(runDir).served(), await byUnix(runDir).served()];
    const [pid, otherPid] = [await pidOf(one), await pidOf(other)];
    const theirs = [`${pid}.aaaaaaaaaa`, `${pid}.bbbbbbbbbb`, `${pid}.bbbbbbbbbb-c`, `${pid}.bbbbbbbbbb-l`];
    const kept = [`${otherPid}.aaaaaaaaaa`, `${pid}0.aaaaaaaaaa`, `${pid}`, "a"];
    for (const name of [...theirs, ...kept]) writeFileSync(join(directory, name), "");
    mkdirSync(join(directory, `${pid}.directory`));
    one.socket.end();
    await until("those of it are gone", () => theirs.every((name) => !existsSync(join(directory, name))));
    expect(readdirSync(directory).sort()).toEqual([...kept, `${pid}.directory`].sort());
  });

  it("are looked for in no directory that is a link, and none is needed", async () => {
    const { runDir, launcher } = await hold();
    const elsewhere = join(runDir, "elsewhere");
    mkdirSync(elsewhere);
    rmdirSync(join(runDir, "x11"));
    symlinkSync(elsewhere, join(runDir, "x11"));
    const client = await byUnix(runDir).served();
    const name = `${await pidOf(client)}.aaaaaaaaaa`;
    writeFileSync(join(elsewhere, name), "");
    client.socket.end();
    await launcher.hears(/^sessions 0$/);
    // The next one's end comes after all that was done at this one's.
    const next = await byUnix(runDir).served();
    next.socket.end();
    await launcher.hears(/^sessions 0$/);
    expect(existsSync(join(elsewhere, name))).toBe(true);
  });

  it("go with an init that has no launcher, and so does their directory", async () => {
    const { runDir } = await hold();
    const alone = join(runDir, "alone");
    mkdirSync(alone);
    writeFileSync(join(alone, "sshd_config"), "");
    const started = new Started(init, ["--run-dir", alone, "--no-listen", "--", "sh", "-c", `: >${alone}/x11/1.a`]);
    expect(await started.ended).toBe(0);
    expect(existsSync(join(alone, "x11"))).toBe(false);
  });
});
