import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { renderFragment } from "../../src/session/fragment.ts";
import { renderIndexConfig } from "../../src/session/user-ssh.ts";

let place = "";
beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "gangway-fragment-"));
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** What ssh makes of a configuration for a host; it connects to nothing, and runs `Match exec`. */
function settingsOf(config: string, host: string, env: Record<string, string> = {}): { code: number; out: string } {
  const file = join(place, "config");
  writeFileSync(file, config);
  // Old versions take any name, new ones only what DNS has: either way nothing may run.
  const result = spawnSync("ssh", ["-F", file, "-G", host], {
    cwd: place,
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", HOME: place, ...env },
  });
  return { code: result.status ?? -1, out: result.stdout };
}

const HOSTILE = [
  "';touch pwned;'.job",
  "`touch pwned`.job",
  "$(touch pwned).job",
  "a;touch pwned;.job",
  "a|touch pwned|.job",
  "a\\';touch pwned;'.job",
  "a\ntouch pwned\n.job",
  "!touch.job",
  '";touch pwned;".job',
];

describe("the fallback for names that no job has", () => {
  const config = renderIndexConfig("/opt/gang way/it's/bin/gangway");

  it("is for names of jobs alone", () => {
    expect(settingsOf(config, "gone.job").out).toMatch(/^proxycommand .*gangway' proxy --explain '%h'$/m);
    // DNS reads these as it reads the name; to ssh they are others, which no entry has.
    for (const host of ["GONE.JOB", "gone.job.", "GONE.JOB."]) {
      expect(settingsOf(config, host).out).toMatch(/^proxycommand .*gangway' proxy --explain '%h'$/m);
    }
    for (const host of ["example.org", "job", "job.example.org", "gone.jobs", "10.0.0.1"]) {
      expect(settingsOf(config, host)).toEqual(settingsOf("", host));
    }
  });

  it.each(HOSTILE)("%j executes nothing", (host) => {
    writeFileSync(join(place, "config"), config);
    for (const shell of ["/bin/sh", "/bin/bash"]) {
      spawnSync("ssh", ["-F", join(place, "config"), "-o", "ConnectTimeout=1", "--", host, "true"], {
        cwd: place,
        env: { PATH: process.env.PATH ?? "", HOME: place, SHELL: shell },
      });
    }
    expect(existsSync(join(place, "pwned"))).toBe(false);
  });
});

describe("the fragment for a machine without gangway", () => {
  const config = renderFragment({ via: "login.example.org" });

  it("names the cluster by the host, or as it is told", () => {
    expect(config).toContain('Match originalhost "*.job.login,');
    expect(renderFragment({ via: "me@login.example.org", cluster: "big" })).toContain('"*.job.big,');
  });

  it("leaves every other host alone, also what stands behind it", () => {
    for (const host of ["example.org", "login.example.org", "1.job", "1.job.other", "job.login"]) {
      expect(settingsOf(`${config}User me\n`, host)).toEqual(settingsOf("User me\n", host));
    }
  });

  it("asks for nothing but jobs' names, and a name is only ever a word", () => {
    for (const name of HOSTILE) settingsOf(config, `${name}.login`);
    expect(existsSync(join(place, "pwned"))).toBe(false);
    expect(existsSync(join(place, ".gangway"))).toBe(false);
  });

  it("is one script of sh without quotes, exclamation marks or line ends", () => {
    const script = /sh -c '([^']*)' gangway '%n'"\n/.exec(config)?.[1] ?? "";
    expect(script).not.toMatch(/["'!\n]/);
    execFileSync("/bin/sh", ["-n", "-c", script.replaceAll("%%", "%")]);
  });

  it.each([
    [{ via: "-oProxyCommand=x" }],
    [{ via: "a b" }],
    [{ via: "a;b" }],
    [{ via: "" }],
    [{ via: "a", cluster: "x'y" }],
    [{ via: "a", cluster: "../x" }],
    [{ via: "a", identity: "id" }],
    [{ via: "a", identity: "~/a b" }],
  ])("%j is refused", (request) => {
    expect(() => renderFragment(request)).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
  });
});

describe("what the other side answers", () => {
  const KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIB1dvT9nCzYxbMvLqZ1xq2E0Y3o0eP5Y3m5XzVvYw1aB";
  const good = {
    certificate: `ssh-ed25519-cert-v01@openssh.com ${KEY} comment`,
    authority: `ssh-ed25519 ${KEY}`,
    host: "Node1.7.job",
    user: "alice",
    socket: "/run/user/7/gangway/7/0/ssh",
    connector: "/opt/connector",
    tcp: "10.0.0.7 22",
  };

  const { host: _host, ...others } = good;

  /** A host that answers so: `ssh` in PATH is a program that prints it. */
  function configFor(answer: Readonly<Record<string, string>>, name: string): string {
    const bin = join(place, `bin-${name}`);
    const lines = Object.entries(answer).map(([keyword, value]) => `${keyword} ${value}`);
    execFileSync("mkdir", ["-p", bin, join(place, ".ssh")]);
    writeFileSync(join(place, ".ssh/id_ed25519.pub"), "ssh-ed25519 AAAA\n");
    writeFileSync(join(bin, "answer"), `${lines.join("\n")}\n`);
    writeFileSync(join(bin, "ssh"), `#!/bin/sh\nexec cat '${join(bin, "answer")}'\n`, { mode: 0o755 });
    // ssh itself expands ~ by the account's home: the pattern is given as it is in this place.
    const config = renderFragment({ via: "login" }).replace("Include ~/", `Include ${place}/`);
    const real = execFileSync("sh", ["-c", "command -v ssh"], { encoding: "utf8" }).trim();
    const file = join(place, `config-${name}`);
    writeFileSync(file, config);
    const env = { HOME: place, PATH: `${bin}:${process.env.PATH}` };
    return spawnSync(real, ["-F", file, "-G", `${name}.job.login`], { encoding: "utf8", env, cwd: place }).stdout;
  }

  it("becomes certificate, known_hosts and a way", () => {
    const out = configFor(good, "7");
    expect(out).toContain("proxycommand ssh -T -- login /opt/connector --stdio /run/user/7/gangway/7/0/ssh\n");
    expect(out).toContain("hostkeyalias node1.7.job\n");
    // What a ControlPath may be made of is the name that was typed, of this job and this cluster alone.
    expect(out).toContain("\nhostname 7.job.login\n");
    expect(out).toContain("user alice\n");
    expect(out).toContain("stricthostkeychecking true\n");
  });

  it.each([
    ["a job of the same user's name", "8", { host: "linux-1.8.job", user: "felix" }],
    ["paths with x-", "9", { host: "x-.9.job", socket: "/x-/x-x/-x", connector: "/opt/x-y/x-" }],
    ["a node by its number", "1.lap", { host: "node2.lap.job" }],
    ["a node by its name", "n1.site.lap", { host: "N1.site.Lap.job" }],
    ["a job of HTCondor's", "32.0", { host: "slot1.32.0.job" }],
    ["a second launch there", "node1.32.0-2", { host: "node1.32.0-2.job" }],
    ["a node of a job of two numbers", "1.32.0", { host: "slot2.32.0.job" }],
  ])("is good for %s", (_what, name, words) => {
    expect(configFor({ ...good, ...words }, name)).toContain(`hostkeyalias ${(words.host ?? "").toLowerCase()}\n`);
  });

  it("may lead through a further host", () => {
    const out = configFor({ ...good, host: "node1.12.job", through: "n1.site" }, "12");
    expect(out).toContain("proxycommand ssh -T -- login ssh -T -- n1.site /opt/connector --stdio /run/");
  });

  it.each([
    ["10.0.0.7 1204", "14"],
    ["fd00::7 20007", "15"],
  ])("may lead on to another host's node: %s", (relay, job) => {
    const out = configFor({ ...good, host: `node2.${job}.job`, relay }, job);
    expect(out).toContain(`proxycommand ssh -T -- login /opt/connector --stdio ${good.socket} ${relay}\n`);
  });

  it.each(["-x 22", "10.0.0.7", "10.0.0.7 -22", "10.0.0.7 2x", "n1 22", "10.0.0.7;id 22", "$(id) 22"])(
    "does not lead on to %j",
    (relay) => {
      const out = configFor({ ...good, host: "node1.16.job", relay }, "16");
      expect(out).toContain("this job cannot be reached");
    },
  );

  it.each(["srun", "condor"])("may lead on by the host's workload manager: %s", (carried) => {
    const out = configFor({ ...good, host: "n2.17.job", carried }, "17");
    expect(out).toContain(`proxycommand ssh -T -- login gangway proxy --connect ${carried} n2.17.job\n`);
  });

  it.each(["sh", "srun;id", "srun -x", "--via"])("is led on by nothing else: %s", (carried) => {
    const out = configFor({ ...good, host: "n2.18.job", carried }, "18");
    expect(out).toMatch(carried === "srun -x" ? /gangway proxy --connect srun n2.18.job\n/ : /cannot be reached/);
  });

  it("says what to do where there is no public key", () => {
    const file = join(place, "config");
    writeFileSync(file, renderFragment({ via: "login", identity: "~/.ssh/no-key" }));
    const env = { PATH: process.env.PATH ?? "", HOME: place };
    const { stderr } = spawnSync("ssh", ["-F", file, "-G", "7.job.login"], { encoding: "utf8", env });
    expect(stderr).toContain(`there is no ${place}/.ssh/no-key.pub here: make a key by ssh-keygen -t ed25519\n`);
  });

  it.each(["-oProxyCommand=x", "me@n1", "a;b", "$(id)", ""])("does not lead through %j", (through) => {
    const out = configFor({ ...good, host: "node1.13.job", through }, "13");
    expect(out).toContain("this job cannot be reached");
  });

  it.each([
    ["7", "prod.example.org"],
    ["7", "node1.8.job"],
    ["7", "7.job"],
    ["7", "node1.7.job.prod"],
    ["7", "node1.17.job"],
    ["node2.7", "node1.7.job"],
    ["32.0", "slot1.0.job"],
  ])("for %s is not believed when it is of %s", (name, host) => {
    const out = configFor({ ...good, host }, name);
    expect(out).toContain("this job cannot be reached");
    expect(out).not.toContain(`hostkeyalias ${host}\n`);
  });

  it("is read no further than an answer can be long", () => {
    configFor({ ...good, more: "x".repeat(1_000_000) }, "10");
    const files = execFileSync("find", [join(place, ".gangway"), "-size", "+40k"], { encoding: "utf8" });
    expect(files).toBe("");
    expect(configFor({ more: "x".repeat(1_000_000), ...good }, "11")).toContain("this job cannot be reached");
  });

  it.each([
    ["a", { ...others, socket: "/x;touch pwned" }],
    ["b", { ...others, connector: "/x $(touch pwned)" }],
    ["c", { ...others, user: "x\nProxyCommand touch pwned" }],
    ["d", { ...others, host: "*" }],
    ["e", { ...others, authority: `ssh-ed25519 ${KEY};` }],
    ["f", { ...others, certificate: `ssh-ed25519 ${KEY}` }],
    ["g", { user: "alice" }],
  ])("is not believed (%s)", (name, { host = `node1.${name}.job`, ...answer }: Partial<typeof good>) => {
    const out = configFor({ ...answer, host }, name);
    expect(existsSync(join(place, "pwned"))).toBe(false);
    if (name === "b" || name === "c") {
      // What stands behind a word that is whole is passed over.
      expect(out).not.toContain("pwned");
    } else {
      expect(out).toContain("this job cannot be reached");
    }
  });
});
