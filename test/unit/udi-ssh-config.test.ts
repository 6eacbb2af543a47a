import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { type KitConfigOptions, renderJobConfig, renderKitConfig } from "../../src/udi/ssh-config.ts";

const dir = mkdtempSync(join(tmpdir(), "udi-ssh-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** What the distribution's ssh would do for a host: `ssh -G`, the values of each directive. */
function resolved(config: string, host: string, ...options: string[]): Map<string, string[]> {
  const file = join(dir, "config");
  writeFileSync(file, config);
  const args = ["-G", ...options, "-F", file, host];
  const text = execFileSync("ssh", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const values = new Map<string, string[]>();
  for (const line of text.trim().split("\n")) {
    const blank = line.indexOf(" ");
    const [name, value] = blank < 0 ? [line, ""] : [line.slice(0, blank), line.slice(blank + 1)];
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return values;
}

/** What ssh would replace by a variable's value. */
const expanded = ["$", "{HOME}"].join("");

/** Our keyword is unknown to the distribution's ssh. */
const ignoreOwn = ["-o", "IgnoreUnknown=GangwayFinal"];

describe("renderJobConfig", () => {
  const config = renderJobConfig({
    user: "alice",
    nodes: [
      { names: ["node1", "node1.1234+1.job", "10.0.0.1"], port: 1204 },
      { names: ["node2", "2001:db8::2"], port: 1204 },
      { names: ["node3"], port: 40_000 },
      { names: ["deaf"], port: 0 },
    ],
  });

  it("has a block for each port, which settles the host", () => {
    expect(config.match(/^Match originalhost .*$/gm)).toEqual([
      "Match originalhost node1,node1.1234+1.job,10.0.0.1,node2,2001:db8::2",
      "Match originalhost node3",
    ]);
    expect(config.match(/^ {2}GangwayFinal yes$/gm)).toHaveLength(2);
  });

  it.each([
    ["node1", "1204"],
    ["node1.1234+1.job", "1204"],
    ["10.0.0.1", "1204"],
    ["2001:db8::2", "1204"],
    ["node3", "40000"],
  ])("leads %s to port %s, verified", (host, port) => {
    const values = resolved(config, host, ...ignoreOwn);
    expect(Object.fromEntries([...values].map(([name, list]) => [name, list.join("|")]))).toMatchObject({
      user: "alice",
      port,
      identityfile: "/run/gangway/id_ed25519",
      certificatefile: "/run/gangway/id_ed25519-cert.pub",
      identitiesonly: "yes",
      userknownhostsfile: "/run/gangway/known_hosts",
      globalknownhostsfile: "/dev/null",
      stricthostkeychecking: "true",
      updatehostkeys: "false",
      preferredauthentications: "publickey",
    });
    expect(values.get("ciphers")?.[0]).toMatch(/^aes128-gcm@openssh\.com,/);
  });

  it("leaves every other host alone", () => {
    for (const host of ["node", "node11", "node1.other", "deaf", "github.com"]) {
      expect(resolved(config, host, ...ignoreOwn)).toEqual(resolved("", host, ...ignoreOwn));
    }
  });

  describe("where the job is told", () => {
    const names = (node: string) => [node, `${node}.1234+1.job`];
    const nodes = ["node1", "node2"].map((node) => ({ names: names(node), port: 1204 }));

    it("has one pattern for the names in it, when all nodes have one port", () => {
      const folded = renderJobConfig({ user: "alice", job: "1234+1.job", nodes });
      expect(folded).toContain("\nMatch originalhost *.1234+1.job,node1,node2\n");
      for (const host of [...names("node1"), ...names("node2")])
        expect(resolved(folded, host, ...ignoreOwn).get("port")).toEqual(["1204"]);
      for (const host of ["1234+1.job.org", "node1.1234.job", "node3"])
        expect(resolved(folded, host, ...ignoreOwn)).toEqual(resolved("", host, ...ignoreOwn));
    });

    it.each([40_000, 0])("has each name when one of them has port %d", (port) => {
      const apart = [...nodes, { names: names("node3"), port }];
      expect(renderJobConfig({ user: "alice", job: "1234+1.job", nodes: apart })).toBe(
        renderJobConfig({ user: "alice", nodes: apart }),
      );
    });
  });

  it("takes 30,000 names, in little time", () => {
    const names = Array.from({ length: 30_000 }, (_, i) => `n${i}`);
    const large = renderJobConfig({ user: "alice", nodes: names.map((name) => ({ names: [name], port: 1204 })) });
    expect(resolved(large, "n29999", ...ignoreOwn).get("port")).toEqual(["1204"]);
  });

  it("writes another run directory", () => {
    const moved = renderJobConfig({ user: "a", nodes: [{ names: ["n"], port: 1 }], runDirectory: "/tmp/a b/%x" });
    expect(resolved(moved, "n", ...ignoreOwn).get("userknownhostsfile")?.[0]).toContain("/tmp/a b/%");
  });

  it.each(["DOM\\alice", "alice smith", "alice@site.org", "müller", "host$", "a#b"])(
    "writes the user %j exactly",
    (user) => {
      expect(
        resolved(renderJobConfig({ user, nodes: [{ names: ["n"], port: 1 }] }), "n", ...ignoreOwn).get("user"),
      ).toEqual([user]);
    },
  );

  it("refuses what it cannot write", () => {
    const nodes = [{ names: ["n"], port: 1 }];
    for (const user of ["", 'a"b', "a'b", "a%h", expanded, "a\nb", "a\\\\b", "a\\"])
      expect(() => renderJobConfig({ user, nodes })).toThrow(GangwayError);
    for (const port of [-1, 65_536, 1.5, Number.NaN])
      expect(() => renderJobConfig({ user: "a", nodes: [{ names: ["n"], port }] })).toThrow(GangwayError);
    for (const runDirectory of ["relative", "/a\nb", `/${expanded}`])
      expect(() => renderJobConfig({ user: "a", nodes, runDirectory })).toThrow(GangwayError);
  });

  it("lets no name bring a line of its own", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 20 }), (name) => {
        let text = "";
        try {
          text = renderJobConfig({ user: "a", nodes: [{ names: [name], port: 1 }] });
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
          return;
        }
        expect(text.split("\n").filter((line) => line.startsWith("Match"))).toEqual([`Match originalhost ${name}`]);
      }),
    );
  });
});

describe("renderKitConfig", () => {
  const head = {
    names: ["1234.job", "Node1.1234.job"],
    principal: "Node1.1234.job",
    socket: "/run/user/1001/gangway/1234/0/ssh",
    port: 1204,
  };
  const kit: KitConfigOptions = {
    user: "alice",
    connector: "/opt/gangway/libexec/connector",
    identity: "/run/user/1001/gangway/1234/kit/id_ed25519",
    certificate: "/run/user/1001/gangway/1234/kit/id_ed25519-cert.pub",
    knownHosts: "/run/user/1001/gangway/1234/kit/known_hosts",
    nodes: [
      {
        names: ["1234.job", "Node1.1234.job"],
        principal: "Node1.1234.job",
        socket: "/run/user/1001/gangway/1234/0/ssh",
        port: 1204,
      },
      { names: ["node2.1234.job"], principal: "node2.1234.job", socket: "/run/user/1001/gangway/1234/1/ssh", port: 0 },
    ],
  };
  const config = renderKitConfig(kit);

  it.each(["1234.job", "Node1.1234.job", "node1.1234.job"])("leads %s to the head's socket, verified", (host) => {
    const values = resolved(config, host);
    expect(Object.fromEntries([...values].map(([name, list]) => [name, list.join("|")]))).toMatchObject({
      user: "alice",
      hostkeyalias: "node1.1234.job",
      proxycommand: "/opt/gangway/libexec/connector /run/user/1001/gangway/1234/0/ssh",
      proxyusefdpass: "yes",
      identityfile: kit.identity,
      certificatefile: kit.certificate,
      identitiesonly: "yes",
      userknownhostsfile: kit.knownHosts,
      globalknownhostsfile: "/dev/null",
      stricthostkeychecking: "true",
      updatehostkeys: "false",
      addkeystoagent: "false",
      canonicalizehostname: "false",
      hostkeyalgorithms: "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519",
      casignaturealgorithms: "ssh-ed25519",
      permitlocalcommand: "no",
    });
  });

  it("has no exchange of keys that takes as long as the rest of the session", () => {
    const methods = resolved(config, "1234.job").get("kexalgorithms")?.join("").split(",") ?? [];
    expect(methods).toContain("curve25519-sha256");
    expect(methods.filter((method) => method.startsWith("sntrup761"))).toEqual([]);
  });

  it("leaves every other host alone", () => {
    for (const host of ["1235.job", "x1234.job", "node3.1234.job", "github.com"])
      expect(resolved(config, host)).toEqual(resolved("", host));
  });

  it("comes first whatever the user's own file says after it", () => {
    const hostile = `
      Host *
        User mallory
        HostName evil.example
        Port 99
        ProxyCommand nc evil 1
        ProxyJump evil
        HostKeyAlias evil
        IdentitiesOnly no
        UserKnownHostsFile /dev/null
        GlobalKnownHostsFile /tmp/x
        StrictHostKeyChecking no
        UpdateHostKeys yes
        HostKeyAlgorithms ssh-rsa
        PubkeyAuthentication no
        PubkeyAcceptedAlgorithms ssh-rsa
        PreferredAuthentications password
        CASignatureAlgorithms rsa-sha2-512
        RevokedHostKeys /nonexistent
        CanonicalizeHostname always
        CanonicalDomains evil.example
        RemoteCommand echo x
        PermitLocalCommand yes
        AddKeysToAgent yes
        VerifyHostKeyDNS yes
        Ciphers 3des-cbc
    `;
    const before = resolved(config, "1234.job");
    const after = resolved(config + hostile, "1234.job");
    const differing = [...after].filter(([name, list]) => list.join("|") !== before.get(name)?.join("|"));
    // With an alias it has no meaning.
    expect(differing.map(([name]) => name)).toEqual(["canonicaldomains"]);
  });

  it("leaves the user's other options and an IgnoreUnknown of theirs in force", () => {
    const own = `${config}\nHost *\n  IgnoreUnknown UseKeychain\n  UseKeychain yes\n  ServerAliveInterval 17\n`;
    expect(resolved(own, "1234.job").get("serveraliveinterval")).toEqual(["17"]);
  });

  const odd = [
    "a b",
    "it's",
    'say "hi"',
    "50%h",
    "%%",
    "back\\slash",
    "tail\\",
    "$HOME",
    "`id`",
    "a;b",
    "(x)",
    "#x",
    "a,b",
    "ü",
    "!",
    "~",
  ];

  it.each(odd)("writes paths with %j so that ssh and any shell read them back", (name) => {
    const at = `/tmp/${name}/f`;
    const values = resolved(
      renderKitConfig({
        ...kit,
        identity: at,
        certificate: at,
        knownHosts: at,
        nodes: [{ ...head, socket: at, port: 0 }],
      }),
      "1234.job",
    );
    expect(values.get("userknownhostsfile")).toEqual([at]);
    // `ssh -G` shows these as they are before their expansion.
    const doubled = at.replaceAll("%", "%%");
    expect(values.get("identityfile")).toEqual([doubled]);
    expect(values.get("certificatefile")).toEqual([doubled]);
  });

  it.each(odd)("starts a connector and names a socket in a directory called %j", (name) => {
    const home = join(dir, name);
    mkdirSync(home, { recursive: true });
    const connector = join(home, "connector");
    const seen = join(dir, "seen");
    writeFileSync(connector, `#!/bin/sh\nprintf '%s|%s' "$#" "$1" >'${seen}'\n`, { mode: 0o755 });
    const socket = join(home, "ssh");
    const file = join(dir, "config");
    // Without descriptor passing the stand-in need not pass one; the command's text is the same.
    const text = renderKitConfig({ ...kit, connector, nodes: [{ ...head, socket, port: 0 }] });
    writeFileSync(file, text.replace("ProxyUseFdpass yes", "ProxyUseFdpass no"));
    try {
      execFileSync("ssh", ["-F", file, "1234.job", "true"], { stdio: "ignore" });
    } catch {
      // The stand-in is no server: ssh fails, after it was started.
    }
    expect(readFileSync(seen, "utf8")).toBe(`1|${socket}`);
    rmSync(seen);
  });

  it.each(["10.0.0.2", "2001:db8::2"])("leads to a node on another host by the socket there, or %s", (address) => {
    const values = resolved(renderKitConfig({ ...kit, nodes: [{ ...head, address }] }), "1234.job");
    expect(values.get("proxycommand")).toEqual([`${kit.connector} ${head.socket} ${address} 1204`]);
    expect(values.get("proxyusefdpass")).toEqual(["yes"]);
    expect(values.get("hostkeyalias")).toEqual(["node1.1234.job"]);
    // What withstands whoever records a network now to break it later is left out for sockets alone.
    const usual = resolved("", "1234.job").get("kexalgorithms");
    expect(values.get("kexalgorithms")).toEqual(usual);
  });

  it("has the connector say where the job is, on hosts without its key", () => {
    const identity = "/run/a b/id_ed25519";
    const values = resolved(renderKitConfig({ ...kit, identity, owner: 7, runsOn: "n1.site" }), "1234.job");
    expect(values.get("proxycommand")).toEqual([
      `${kit.connector} --owner 7 --kit '${identity}' n1.site ${head.socket}`,
    ]);
  });

  it("refuses what it cannot write", () => {
    const broken: Partial<KitConfigOptions>[] = [
      { runsOn: "a b" },
      { nodes: [{ ...head, address: "n1" }] },
      { nodes: [{ ...head, address: "10.0.0.2", port: 0 }] },
      { nodes: [{ ...head, address: "fe80::1%eth0" }] },
      { nodes: [{ ...head, address: "10.0.0.2;id" }] },
      { user: "a%b" },
      { connector: "connector" },
      { connector: "/a\nHost *" },
      { identity: `/${expanded}/x` },
      { knownHosts: "/a\0b" },
      { nodes: [{ names: ["a b"], principal: "a", socket: "/s", port: 0 }] },
      { nodes: [{ names: ["*"], principal: "a", socket: "/s", port: 0 }] },
      { nodes: [{ names: [], principal: "a", socket: "/s", port: 0 }] },
      { nodes: [{ names: ["a"], principal: "a\nUser root", socket: "/s", port: 0 }] },
      { nodes: [{ names: ["a"], principal: "a", socket: "s", port: 0 }] },
    ];
    for (const wrong of broken) expect(() => renderKitConfig({ ...kit, ...wrong })).toThrow(GangwayError);
  });
});
