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
    expect(settingsOf(config, "gone.job").out).toMatch(/^proxycommand .*gangway' proxy '%h'$/m);
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
    writeFileSync(file, config.replaceAll("<$HOME", `<${place}`));
    const env = { HOME: place, PATH: `${bin}:${process.env.PATH}` };
    return spawnSync(real, ["-F", file, "-G", `${name}.job.login`], { encoding: "utf8", env, cwd: place }).stdout;
  }

  it("becomes certificate, known_hosts and a way", () => {
    const out = configFor(good, "7");
    expect(out).toContain("proxycommand ssh -T -- login /opt/connector --stdio /run/user/7/gangway/7/0/ssh\n");
    expect(out).toContain("hostkeyalias node1.7.job\n");
    expect(out).toContain("user alice\n");
    expect(out).toContain("stricthostkeychecking true\n");
  });

  it.each([
    ["a", { ...good, socket: "/x;touch pwned" }],
    ["b", { ...good, connector: "/x $(touch pwned)" }],
    ["c", { ...good, user: "x\nProxyCommand touch pwned" }],
    ["d", { ...good, host: "*" }],
    ["e", { ...good, authority: `ssh-ed25519 ${KEY};` }],
    ["f", { ...good, certificate: `ssh-ed25519 ${KEY}` }],
    ["g", { user: "alice" }],
  ])("is not believed (%s)", (name, answer) => {
    const out = configFor(answer, name);
    expect(existsSync(join(place, "pwned"))).toBe(false);
    if (name === "b" || name === "c") {
      // What stands behind a word that is whole is passed over.
      expect(out).not.toContain("pwned");
    } else {
      expect(out).toContain("this job cannot be reached");
    }
  });
});
