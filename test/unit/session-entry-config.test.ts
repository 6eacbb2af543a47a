import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { assembleConfig, type ConfigParts, tcpDirectives } from "../../src/session/entry-config.ts";

/** What ssh itself makes of the file: `ssh -G`. */
function effective(file: string, host: string): ReadonlyMap<string, string> {
  const text = execFileSync("ssh", ["-G", "-F", file, host], { encoding: "utf8" });
  return new Map(text.split("\n").map((line) => [line.split(" ")[0] ?? "", line.slice(line.indexOf(" ") + 1)]));
}

describe("the configuration file of an entry", () => {
  let place = "";
  let base = "";

  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), "gangway-entry-"));
    base = join(place, "kit  with 'blanks'");
    writeFileSync(base, "Host n.j.job\n  User jobs\n  HostName n.j.job\n  Port 4\n  ProxyCommand kit\n");
  });
  afterEach(() => rmSync(place, { recursive: true }));

  const assemble = (parts: Partial<ConfigParts>) => assembleConfig({ host: "n.j.job", base, ...parts }, place);

  it("is the job's own where nothing has to be added", () => {
    expect(assemble({})).toBe(base);
    expect(assemble({ userConfig: "none", placeholders: ["remote"] })).toBe(base);
  });

  it("has the way's settings before the job's, for its names alone", () => {
    const settings = tcpDirectives({ address: "192.0.2.7", port: 1204 });
    const file = assemble({ settings, placeholders: ["remote"] });
    const job = effective(file, "n.j.job");
    expect([job.get("hostname"), job.get("port"), job.get("user")]).toEqual(["192.0.2.7", "1204", "jobs"]);
    expect(job.get("proxycommand")).toBeUndefined();
    expect(effective(file, "remote").get("hostname")).toBe("192.0.2.7");
    expect(effective(file, "other").get("hostname")).toBe("other");
  });

  it("has the user's behind the job's: it adds, and turns nothing elsewhere", () => {
    const userConfig = join(place, "theirs");
    writeFileSync(userConfig, "Host *\n  User nobody\n  Port 9\n  ServerAliveInterval 7\n");
    const job = effective(assemble({ userConfig }), "n.j.job");
    expect([job.get("user"), job.get("port"), job.get("serveraliveinterval")]).toEqual(["jobs", "4", "7"]);
  });

  it("is the user's alone where that cannot be read: then ssh says so", () => {
    expect(assemble({ userConfig: join(place, "none-such") })).toBe(join(place, "none-such"));
  });

  it("has a block for placeholders; the job's names stay known", () => {
    const file = assemble({ placeholders: ["remote"], extra: "Host remote\n  User jobs\n  HostName n.j.job\n" });
    expect(effective(file, "remote").get("hostname")).toBe("n.j.job");
    expect(effective(file, "n.j.job").get("port")).toBe("4");
    expect(effective(file, "elsewhere").get("hostname")).toBe("elsewhere");
    expect(readFileSync(file, "utf8")).toContain("Match all\n");
  });
});
