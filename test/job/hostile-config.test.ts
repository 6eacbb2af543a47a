import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { WHOLE } from "../whole.ts";
import { DOCKER, gangway, IMAGES, inDirectory, OTHER, PODMAN, USER } from "./harness.ts";

/*
 * Whatever the user's own ~/.ssh says, hops between the job's nodes work, and without a word. For every other host it
 * says what it always said.
 */

interface Kind {
  /** Lines of ~/.ssh/config. */
  readonly config?: string;
  /** Makes what ~/.ssh is to be, where that is not a directory with the file alone. */
  readonly make?: (ssh: string) => void;
  /** A line of what `ssh -G outside.example` prints under it: for other hosts it holds. */
  readonly outside?: string;
}

/** A program that must never run leaves a trace. */
const TRACE = "touch ~/traces/";

function all(...lines: string[]): string {
  return ["Host *", ...lines.map((line) => `  ${line}`), ""].join("\n");
}

function file(path: string, content: string, mode = 0o600): void {
  writeFileSync(path, content);
  chmodSync(path, mode);
  chownSync(path, USER.uid, USER.gid);
}

function directory(path: string): void {
  mkdirSync(path);
  chownSync(path, USER.uid, USER.gid);
}

/** ~/.ssh with a config and something beside it. */
function withConfig(config: string, more: (ssh: string) => void = () => undefined): (ssh: string) => void {
  return (ssh) => {
    directory(ssh);
    file(join(ssh, "config"), config);
    more(ssh);
  };
}

const KINDS: Readonly<Record<string, Kind>> = {
  // --- elsewhere, as someone else
  user: { config: all("User root"), outside: "user root" },
  port: { config: all("Port 1"), outside: "port 1" },
  hostname: { config: all("HostName 192.0.2.1"), outside: "hostname 192.0.2.1" },
  "by-name": { config: "Host node? 10.* *.job\n  User root\n  Port 1\n  HostName 192.0.2.1\n" },
  "by-user": { config: `Match user ${USER.name} host node*\n  Port 1\n` },
  "proxy-command": { config: all(`ProxyCommand ${TRACE}proxy; exit 1`), outside: `proxycommand ${TRACE}proxy; exit 1` },
  "proxy-jump": { config: all("ProxyJump nowhere.invalid"), outside: "proxyjump nowhere.invalid" },
  "proxy-fdpass": { config: all("ProxyCommand /bin/false", "ProxyUseFdpass yes"), outside: "proxyusefdpass yes" },
  canonicalize: {
    config: all("CanonicalizeHostname always", "CanonicalDomains example.invalid", "CanonicalizeFallbackLocal no"),
  },
  "canonical-match": { config: "CanonicalizeHostname yes\nMatch canonical all\n  Port 1\n" },
  "final-match": { config: "Match final all\n  Port 1\n  User root\n", outside: "port 1" },
  inet6: { config: all("AddressFamily inet6"), outside: "addressfamily inet6" },
  "bind-address": { config: all("BindAddress 192.0.2.1"), outside: "bindaddress 192.0.2.1" },
  "bind-interface": { config: all("BindInterface nothing0"), outside: "bindinterface nothing0" },
  "connect-timeout": { config: all("ConnectTimeout 0", "ConnectionAttempts 1"), outside: "connecttimeout 0" },

  // --- the host's key
  "known-hosts": {
    config: all("StrictHostKeyChecking yes", "UserKnownHostsFile /dev/null", "GlobalKnownHostsFile none"),
  },
  "no-checking": {
    config: all("StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"),
    outside: "userknownhostsfile /dev/null",
  },
  ask: { config: all("StrictHostKeyChecking ask", "UserKnownHostsFile ~/none"), outside: "stricthostkeychecking ask" },
  "host-key-algorithms": { config: all("HostKeyAlgorithms ssh-rsa"), outside: "hostkeyalgorithms ssh-rsa" },
  "plain-keys-only": { config: all("HostKeyAlgorithms ssh-ed25519"), outside: "hostkeyalgorithms ssh-ed25519" },
  "ca-algorithms": { config: all("CASignatureAlgorithms rsa-sha2-256"), outside: "casignaturealgorithms rsa-sha2-256" },
  "revoked-host-keys": { config: all("RevokedHostKeys /does/not/exist"), outside: "revokedhostkeys /does/not/exist" },
  "known-hosts-command": {
    config: all(`KnownHostsCommand /bin/sh -c "${TRACE}known; exit 1"`),
    outside: `knownhostscommand /bin/sh -c "${TRACE}known; exit 1"`,
  },
  "host-key-alias": { config: all("HostKeyAlias another"), outside: "hostkeyalias another" },
  "hash-known-hosts": { config: all("HashKnownHosts yes", "UpdateHostKeys yes"), outside: "hashknownhosts yes" },
  "visual-host-key": { config: all("VisualHostKey yes"), outside: "visualhostkey yes" },
  "verify-by-dns": { config: all("VerifyHostKeyDNS yes", "CheckHostIP yes"), outside: "verifyhostkeydns true" },
  "revoked-in-known-hosts": {
    make: withConfig("", (ssh) => file(join(ssh, "known_hosts"), "@revoked * ssh-ed25519 AAAA\nnonsense\n\0\u0001\n")),
  },

  // --- the user's key
  "identity-file": { config: all("IdentityFile /does/not/exist", "IdentitiesOnly yes"), outside: "identitiesonly yes" },
  "identity-agent": { config: all("IdentityAgent /does/not/exist"), outside: "identityagent /does/not/exist" },
  "certificate-file": { config: all("CertificateFile /does/not/exist"), outside: "certificatefile /does/not/exist" },
  "passwords-only": { config: all("PreferredAuthentications password"), outside: "preferredauthentications password" },
  "no-public-keys": { config: all("PubkeyAuthentication no"), outside: "pubkeyauthentication false" },
  "accepted-algorithms": {
    config: all("PubkeyAcceptedAlgorithms ssh-rsa"),
    outside: "pubkeyacceptedalgorithms ssh-rsa",
  },
  hostbased: {
    config: all("HostbasedAuthentication yes", "EnableSSHKeysign yes"),
    outside: "hostbasedauthentication yes",
  },
  gssapi: { config: all("GSSAPIAuthentication yes", "GSSAPIDelegateCredentials yes") },
  pkcs11: { config: all("PKCS11Provider /does/not/exist.so") },
  "security-key": { config: all("SecurityKeyProvider /does/not/exist.so") },
  "add-to-agent": { config: all("AddKeysToAgent ask"), outside: "addkeystoagent ask" },
  interactive: { config: all("BatchMode no", "NumberOfPasswordPrompts 9"), outside: "numberofpasswordprompts 9" },

  // --- what runs, and how
  "remote-command": { config: all("RemoteCommand echo taken over"), outside: "remotecommand echo taken over" },
  "no-session": { config: all("SessionType none"), outside: "sessiontype none" },
  terminal: { config: all("RequestTTY force", "EscapeChar none"), outside: "requesttty force" },
  "no-input": { config: all("StdinNull yes"), outside: "stdinnull yes" },
  background: { config: all("ForkAfterAuthentication yes") },
  "local-command": { config: all("PermitLocalCommand yes", `LocalCommand ${TRACE}local; echo local`) },
  "match-exec": { config: `Match exec "${TRACE}exec; sleep 9"\n  Port 1\n` },
  "send-env": { config: all("SendEnv *", "SetEnv LD_PRELOAD=/not/there.so PATH=/nowhere"), outside: "sendenv *" },
  "master-in-nowhere": {
    config: all("ControlMaster auto", "ControlPath /does/not/exist/%C"),
    outside: "controlmaster auto",
  },
  "master-kept": { config: all("ControlMaster auto", "ControlPath ~/m-%C", "ControlPersist yes") },
  forwarding: {
    config: all("LocalForward 1 node2:1", "RemoteForward 1 x:1", "DynamicForward 2", "ExitOnForwardFailure yes"),
    outside: "exitonforwardfailure yes",
  },
  x11: {
    config: all("ForwardX11 yes", "ForwardX11Trusted yes", "XAuthLocation /does/not/exist"),
    outside: "forwardx11 yes",
  },
  agent: { config: all("ForwardAgent $NOT_SET", "ForwardAgent yes") },
  tunnel: { config: all("Tunnel ethernet"), outside: "tunnel ethernet" },

  // --- the wire
  ciphers: { config: all("Ciphers 3des-cbc"), outside: "ciphers 3des-cbc" },
  "bad-ciphers": { config: all("Ciphers none-such") },
  kex: { config: all("KexAlgorithms diffie-hellman-group1-sha1") },
  macs: { config: all("MACs hmac-md5-96"), outside: "macs hmac-md5-96" },
  rekey: { config: all("RekeyLimit 16"), outside: "rekeylimit 16 0" },
  compression: { config: all("Compression yes"), outside: "compression yes" },
  alive: { config: all("ServerAliveInterval 1", "ServerAliveCountMax 1"), outside: "serveralivecountmax 1" },
  "channel-timeout": { config: all("ChannelTimeout *=1"), outside: "channeltimeout *=1" },

  // --- loud
  debug: { config: all("LogLevel DEBUG3"), outside: "loglevel DEBUG3" },
  "log-verbose": { config: all("LogVerbose *:*:*") },

  // --- files that no ssh would read
  syntax: {
    config: "Host *\n  Port\n",
    outside: `${USER.home}/.ssh/config line 2: no argument after keyword "port"`,
  },
  quotes: { config: 'Host *\n  User "never closed\n' },
  unknown: { config: all("NoSuchOption yes") },
  deprecated: { config: all("Protocol 1", "UsePrivilegedPort yes", "RSAAuthentication yes", "UseRoaming yes") },
  "bad-value": { config: all("Port none", "ForwardAgent perhaps") },
  "our-own-word": { config: all("GangwayFinal no") },
  "bad-include": {
    make: withConfig("Include broken\n", (ssh) => file(join(ssh, "broken"), "Host *\n  Broken\n")),
  },
  "include-itself": { config: "Include config\n" },
  "include-glob": { config: "Include /proc/self/* /dev/nul[l] ~nobody-at-all/x\n" },
  binary: { config: "\0\u0001\u0002\xff\n\0" },
  "line-ends": { config: "Host *\r\n  User root\r\n" },
  "long-line": { config: `Host ${"x".repeat(1_000_000)}\n  Port 1\n` },
  "many-lines": { config: "Host nothing*\n  Port 1\n".repeat(20_000) },
  writable: { make: withConfig(all("Port 1"), (ssh) => chmodSync(join(ssh, "config"), 0o666)) },
  unreadable: { make: withConfig(all("Port 1"), (ssh) => chmodSync(join(ssh, "config"), 0)) },
  foreign: { make: withConfig(all("Port 1"), (ssh) => chownSync(join(ssh, "config"), OTHER.uid, OTHER.gid)) },
  "foreign-readable": {
    make: withConfig(all("Port 1"), (ssh) => {
      chmodSync(join(ssh, "config"), 0o644);
      chownSync(join(ssh, "config"), OTHER.uid, OTHER.gid);
    }),
  },
  "a-directory": {
    make: (ssh) => {
      directory(ssh);
      directory(join(ssh, "config"));
    },
  },
  "a-fifo": {
    make: (ssh) => {
      directory(ssh);
      execFileSync("mkfifo", ["-m", "644", join(ssh, "config")]);
      chownSync(join(ssh, "config"), USER.uid, USER.gid);
    },
  },
  "a-loop": {
    make: (ssh) => {
      directory(ssh);
      symlinkSync("config", join(ssh, "config"));
    },
  },
  endless: {
    make: (ssh) => {
      directory(ssh);
      symlinkSync("/dev/zero", join(ssh, "config"));
    },
  },
  "closed-directory": { make: withConfig(all("Port 1"), (ssh) => chmodSync(ssh, 0)) },
  "open-directory": { make: withConfig(all("Port 1"), (ssh) => chmodSync(ssh, 0o777)) },
  "no-directory": { make: (ssh) => file(ssh, "not a directory\n") },
};

/** All hops under one ~/.ssh after the other. Open MPI complains of its own process groups now and then (mpirun.ts). */
const HOPS = `
  try() { # LABEL COMMAND...
    label=$1
    shift
    output=$(timeout 30 "$@" </dev/null 2>/t/stderr)
    printf '%s: %s [%s] [%s]\\n' "$label" "$?" "$output" "$(tr -d '\\0' </t/stderr | head -c 2000)"
  }
  echo content >/t/file
  echo 'put /t/file /t/sftp' >/t/batch
  for kind in $KINDS; do
    ln -sfn "kinds/$kind" ~/.ssh
    try "$kind ssh" ssh node2 hostname
    case " $COPIES " in *" $kind "*)
      try "$kind scp" scp /t/file node2:/t/scp
      try "$kind sftp" sftp -b /t/batch node2
      try "$kind rsync" rsync /t/file node2:/t/rsync
      try "$kind arrived" ssh node2 'cat /t/scp /t/sftp /t/rsync; rm /t/scp /t/sftp /t/rsync' ;;
    esac
    case " $MPIRUN " in *" $kind "*) try "$kind mpirun" bash -c 'set -o pipefail; mpirun -np 3 --map-by node hostname 2>/t/said | sort; s=$?
      grep -v "plm:rsh: Warning: setpgid(" /t/said >&2; exit $s' ;; esac
    [ ! -e ~/outside/"$kind" ] ||
      try "$kind outside" bash -c 'ssh -G outside.example 2>&1 | tr -d "\\r" | grep -xF -f "$1"' - ~/outside/"$kind"
  done
  rm ~/.ssh
  ls ~/traces
`;

/** They start the same ssh, and take longer than it does by itself: with each second kind, and with each fourth. */
const withCopies = (kind: string) => WHOLE || Object.keys(KINDS).indexOf(kind) % 4 < 2;
const withMpirun = (kind: string) => WHOLE || Object.keys(KINDS).indexOf(kind) % 8 < 2;

const COPIED = [
  "scp: 0 [] []",
  "sftp: 0 [sftp> put /t/file /t/sftp] []",
  "rsync: 0 [] []",
  "arrived: 0 [content\ncontent\ncontent] []",
];

function expected(kind: string): string[] {
  const outside = KINDS[kind]?.outside;
  return [
    `${kind} ssh: 0 [node2] []`,
    ...(withCopies(kind) ? COPIED.map((line) => `${kind} ${line}`) : []),
    ...(withMpirun(kind) ? [`${kind} mpirun: 0 [node1\nnode2\nnode3] []`] : []),
    ...(outside === undefined ? [] : [`${kind} outside: 0 [${outside}] []`]),
  ];
}

function kindsToTry(kinds: readonly string[]): string[] {
  const lists = { KINDS: kinds, COPIES: kinds.filter(withCopies), MPIRUN: kinds.filter(withMpirun) };
  return Object.entries(lists).flatMap(([name, list]) => ["--env", `${name}=${list.join(" ")}`]);
}

/** A home that has every kind to choose from. */
function furnish(home: string, kinds: readonly string[]): void {
  for (const name of ["kinds", "outside", "traces"]) directory(join(home, name));
  for (const kind of kinds) {
    const { config = "", make = withConfig(config), outside } = KINDS[kind] ?? {};
    make(join(home, "kinds", kind));
    if (outside !== undefined) file(join(home, "outside", kind), `${outside}\n`);
  }
}

describe.concurrent("a hostile ~/.ssh", () => {
  const names = Object.keys(KINDS);
  const shares = [DOCKER, PODMAN].map((engine, share) => ({
    engine,
    kinds: names.filter((_, index) => index % 2 === share),
  }));

  test.each(shares)(
    "$engine.name: hops work without a word, and the file holds for others",
    async ({ engine, kinds }) => {
      await inDirectory(async (home) => {
        furnish(home, kinds);
        const places = ["--volume", `${home}:${USER.home}`, "--tmpfs", "/t:mode=1777"];
        const words = ["--image", IMAGES.debian, "--nodes", "3", ...places, ...kindsToTry(kinds)];
        const result = await gangway(["run", ...words, "--", "bash", "-c", HOPS], { engine });
        expect(result.stderr).toBe("");
        const lines = result.stdout.trimEnd().split(/\n(?=[\w-]+ \w+: )/);
        const wanted = kinds.flatMap(expected);
        // What differs, before all of it.
        expect(lines.filter((line) => !wanted.includes(line))).toEqual([]);
        expect(lines).toEqual(wanted);
        expect(result.code).toBe(0);
      });
    },
  );

  test("a host outside the job is reached by what the user's file says of it, and by nothing else", async () => {
    // An sshd like any other: its own port, host key and accounts' keys. It happens to run beside node2's.
    const script = `
      ssh-keygen -q -t ed25519 -N '' -f /t/user && ssh-keygen -q -t ed25519 -N '' -f /t/host
      printf '%s\\n' 'Port 2222' 'HostKey /t/host' 'AuthorizedKeysFile /t/user.pub' 'StrictModes no' 'PidFile none' \\
        'Subsystem sftp /opt/udiImage/libexec/sftp-server' >/t/sshd
      scp -q /t/sshd /t/host /t/user.pub node2:/t/ && ssh node2 /opt/udiImage/sbin/sshd -f /t/sshd -E /t/log
      echo "outside.example $(cat /t/host.pub)" >/t/known_hosts
      mkdir -m 700 ~/.ssh
      cat >~/.ssh/config <<END
Host outside.example
  HostName $(probe resolve node2)
  Port 2222
  IdentityFile /t/user
  UserKnownHostsFile /t/known_hosts
  HostKeyAlias outside.example
Host *
  Port 1
  BatchMode yes
END
      echo content >/t/file
      ssh outside.example 'hostname; echo $SSH_CONNECTION | cut -d" " -f4'
      /usr/bin/ssh outside.example hostname
      scp /t/file outside.example:/t/scp
      rsync /t/file outside.example:/t/rsync
      ssh node2 cat /t/scp /t/rsync
      ssh -o Port=2222 outside.example hostname
      sed -i s/2222/2223/ ~/.ssh/config
      ssh outside.example hostname 2>&1 | sed 's/host .* port/host ADDRESS port/; s/\\r//'
      ssh node2 hostname`;
    await inDirectory(async (home) => {
      const places = ["--volume", `${home}:${USER.home}`, "--tmpfs", "/t:mode=1777"];
      const words = ["--image", IMAGES.debian, "--nodes", "2", ...places];
      const result = await gangway(["run", ...words, "--", "bash", "-c", script]);
      const { stdout, stderr, code } = result;
      const refused = "ssh: connect to host ADDRESS port 2223: Connection refused";
      const lines = ["node2", "2222", "node2", "content", "content", "node2", refused, "node2"];
      expect({ stdout, stderr, code }).toEqual({ stdout: `${lines.join("\n")}\n`, stderr: "", code: 0 });
    });
  });
});
