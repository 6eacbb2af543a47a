// The word to those on a terminal when the job's command has ended.
import { afterEach, describe, expect, it } from "vitest";
import { byUnix, type Client, hold, leave } from "./clients.ts";
import { until } from "./helpers.ts";

afterEach(leave);

const LOGIN = `report auth 7 SHA256:${"a".repeat(43)} job-1`;

async function onTerminal(runDir: string): Promise<Client> {
  const client = await byUnix(runDir).served();
  const [, name] = /terminal (\S+)/.exec(await client.ask("terminal")) ?? [];
  await client.tell(LOGIN, `report open 0 ${name} shell -`);
  return client;
}

const word = (client: Client) => /gangway: [^\r\n]*\r/.exec(client.text)?.[0].trim();

describe("the word", () => {
  it.each([
    ["exit 3", "exit 3"],
    ["kill -9 $$", "signal 9"],
  ])("is said before sessions are cut: %s", async (script, reason) => {
    const { runDir, launcher, started } = await hold([], { command: ["sh", "-c", script] });
    const client = await onTerminal(runDir);
    const other = await byUnix(runDir).served();
    await other.tell(LOGIN, "report open 0 - command x");
    await launcher.hears(/^open 2 0/);
    await launcher.say("go");
    expect(await client.over()).toMatch(/\r\n$/);
    expect(word(client)).toBe(`gangway: the job's command has ended (${reason}); this session ends now`);
    expect(other.text).not.toContain("gangway:");
    await started.ended;
  });

  it.each([
    ["sessions", "the container stays until the last session is closed"],
    ["600", "this session may go on for 600 s"],
  ])("is said when they may linger, and again when they are cut: %s", async (policy, text) => {
    const { runDir, launcher, started } = await hold(["--linger", policy], { command: ["sh", "-c", "exit 3"] });
    const client = await onTerminal(runDir);
    await launcher.hears(/^open 1 0/);
    await launcher.say("go");
    await until("the word", () => word(client) === `gangway: the job's command has ended (exit 3); ${text}`);
    await launcher.say("end");
    expect(await client.over()).toContain("(exit 3); this session ends now\r");
    expect(await started.ended).toBe(3);
  });

  it("is said on nodes without a command, too", async () => {
    const { runDir, launcher } = await hold();
    const client = await onTerminal(runDir);
    await launcher.hears(/^open 1 0/);
    await launcher.say("end");
    await client.over();
    expect(word(client)).toBe("gangway: the job has ended; this session ends now");
  });

  it("keeps nobody waiting: not where the terminal takes nothing, nor where it is none", async () => {
    const { runDir, launcher, started } = await hold([], { command: ["sh", "-c", "exit 3"] });
    const client = await byUnix(runDir).served();
    const [, name] = /terminal (\S+)/.exec(await client.ask("full-terminal")) ?? [];
    await client.tell(LOGIN, `report open 0 ${name} shell -`, "report open 1 /dev/pts/1048575 shell -");
    await launcher.hears(/^open 1 1/);
    await launcher.say("go");
    expect(await started.ended).toBe(3);
    expect(client.text).not.toContain("gangway:");
  });
});
