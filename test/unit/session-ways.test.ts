import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UsageError } from "../../src/config/errors.ts";
import { parseWay, tcpSettings, WAYS } from "../../src/session/ways.ts";
import { block, clientDirectives, renderKitConfig } from "../../src/udi/ssh-config.ts";

const directory = mkdtempSync(join(tmpdir(), "session-ways-"));
afterAll(() => rmSync(directory, { recursive: true }));

const HOST = "node1.1234.job";
const client = {
  user: "alice",
  identity: "/run/kit/id_ed25519",
  certificate: "/run/kit/id_ed25519-cert.pub",
  knownHosts: "/run/kit/known_hosts",
};
const kit = renderKitConfig({
  ...client,
  connector: "/opt/gangway/libexec/connector",
  nodes: [{ names: [HOST], principal: HOST, socket: "/run/1234/0/ssh", port: 1204 }],
});
/** As it is made for a session through a carrier. */
const carried = block(`Host ${HOST}`, clientDirectives({ ...client, principal: HOST }));

/** What the distribution's ssh makes of a configuration with these settings on its command line (`ssh -G`). */
function resolved(config: string, settings: readonly string[]): Map<string, string> {
  const file = join(directory, "config");
  writeFileSync(file, config);
  const words = ["-G", ...settings.flatMap((setting) => ["-o", setting]), "-F", file, HOST];
  const text = execFileSync("ssh", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return new Map(text.split("\n").map((line) => [line.replace(/ .*/, ""), line.replace(/^\S* ?/, "")]));
}

describe("the way tcp", () => {
  const place = { address: "2001:db8::7", port: 40_123 };

  it("takes the place of the kit's way, and of nothing else", () => {
    const values = resolved(kit, tcpSettings(place));
    expect(values.get("hostname")).toBe(place.address);
    expect(values.get("port")).toBe(String(place.port));
    expect(values.get("proxycommand") ?? "none").toBe("none");
    expect(values.get("proxyusefdpass")).toBe("no");
    expect(values.get("hostkeyalias")).toBe(HOST);
    expect(values.get("stricthostkeychecking")).toBe("true");
  });

  it("exchanges keys by all that ssh has, also what withstands quantum computers; so does a carrier's", () => {
    const all = resolved("", []).get("kexalgorithms");
    expect(all).toMatch(/sntrup761|mlkem768/);
    expect(resolved(kit, tcpSettings(place)).get("kexalgorithms")).toBe(all);
    expect(resolved(carried, []).get("kexalgorithms")).toBe(all);
    expect(resolved(carried, tcpSettings(place)).get("kexalgorithms")).toBe(all);
    expect(resolved(kit, []).get("kexalgorithms"), "on a socket of this host it is left out").not.toContain(
      "sntrup761",
    );
  });
});

describe("--connect", () => {
  it("takes each way, or none", () => {
    expect(WAYS.map(parseWay)).toEqual([...WAYS]);
    expect(parseWay(undefined)).toBeUndefined();
  });

  it("takes no other", () => {
    expect(() => parseWay("sokcet")).toThrow(UsageError);
    expect(() => parseWay("carrier-pigeon")).toThrow(/--connect carrier-pigeon: there is no such way/);
  });
});
