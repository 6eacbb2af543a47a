import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError, STATUS } from "../../src/config/errors.ts";
import { parseClientRule } from "../../src/config/parse-container.ts";
import { parseEffective, ruledCommand, ruleFor } from "../../src/session/client-rules.ts";
import { parseClient } from "../../src/session/clients.ts";
import { renderKitConfig } from "../../src/udi/ssh-config.ts";

const WHERE = { kind: "variable", name: "GANGWAY_CLIENTS" } as const;
const rule = (text: string) => parseClientRule(text, WHERE);

describe("how a client program is called", () => {
  it.each(["", "mosh", "=x", "a b=c", "mosh=", "mosh=mosh %z", "mosh=mosh %"])("%j says it not", (text) => {
    expect(() => rule(text)).toThrow(ConfigError);
  });

  it("is found by the client's name, of a path too", () => {
    const rules = [rule("mosh=a"), rule("lftp=b")];
    expect(ruleFor(rules, parseClient("/opt/bin/lftp -e x", "--ssh"))).toEqual({ name: "lftp", command: "b" });
    expect(ruleFor(rules, parseClient("sftp", "--ssh"))).toBeUndefined();
  });

  describe("for a job", () => {
    let place = "";
    const entry = () => ({
      configFile: join(place, "config"),
      host: "n.j.job",
      user: "ada",
      udiImage: undefined,
      ours: false,
      spawning: {},
      explain: async () => undefined,
    });
    beforeEach(() => {
      place = mkdtempSync(join(tmpdir(), "gangway-rules-"));
      const files = { connector: "/opt/c o/connector", identity: "/kit/id", certificate: "/kit/id-cert.pub" };
      const node = { names: ["n.j.job"], principal: "n.j.job", socket: "/run/0/ssh", port: 0 };
      writeFileSync(
        join(place, "config"),
        renderKitConfig({ user: "ada", knownHosts: "/kit/known_hosts", nodes: [node], ...files }),
      );
    });
    afterEach(() => rmSync(place, { recursive: true }));

    it("its words have what stands for the job, its own words stand behind its name, the user's behind all", async () => {
      const said = await ruledCommand(
        rule("x=prog -a '%u %%' --key=%i %k %h %x"),
        parseClient("x -v", "--ssh"),
        entry(),
        ["remote:%h"],
      );
      const proxy = "'/opt/c o/connector' --stdio /run/0/ssh";
      expect(said).toEqual([
        "prog",
        "-v",
        "-a",
        "ada %",
        "--key=/kit/id",
        "/kit/known_hosts",
        "n.j.job",
        proxy,
        "remote:%h",
      ]);
    });

    it("a configuration file is enough for all", async () => {
      const mosh = rule("mosh=mosh --ssh='ssh -F %F' %h");
      expect(await ruledCommand(mosh, { words: [] }, entry(), [])).toEqual([
        "mosh",
        `--ssh=ssh -F ${place}/config`,
        "n.j.job",
      ]);
    });

    it("a quote without an end is said when it is called", async () => {
      await expect(ruledCommand(rule("x=prog 'a"), { words: [] }, entry(), [])).rejects.toMatchObject({
        exitCode: STATUS.usage,
      });
    });

    it("what ssh says of its configuration is read as it says it", () => {
      const text = execFileSync("ssh", ["-G", "-F", join(place, "config"), "n.j.job"], { encoding: "utf8" });
      expect(parseEffective(text).get("user")).toBe("ada");
    });
  });
});
