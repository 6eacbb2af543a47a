import { STATUS, UsageError } from "../config/errors.ts";
import { isNodeName, quoted } from "../udi/names.ts";
import { block, SETTLED } from "../udi/ssh-config.ts";
import { checkCarrier } from "./carrier-name.ts";

/** Minutes for which a certificate is used again without asking. */
const FRESH_MINUTES = 10;
/** Bytes. More than an answer has in it: whoever sends more fills no disk. */
const LONGEST_REPLY = 20_000;

export interface FragmentRequest {
  /** The host that ssh goes through. */
  readonly via: string;
  /** The last label of the jobs' names; undefined: the first label of the host's name. */
  readonly cluster?: string;
  /** The user's private key; its public half is beside it, with `.pub`. `~/` is the home. */
  readonly identity?: string;
}

/**
 * Lines for the ~/.ssh/config of a machine that has OpenSSH (8.0 and up) and sh, and nothing of ours: jobs are
 * `[NODE.]JOB.job.CLUSTER` there, reached through `via`.
 *
 * Before a connection a script of sh asks the host for a certificate of the user's own public key, checks each word of what
 * comes back, and writes certificate, known_hosts and configuration for that one name. It stands within single quotes in
 * double ones, and so has neither kind, nor `!` or backslashes, which csh and fish would read: whatever the user's shell is.
 *
 * @throws UsageError (exit status 64) for a host, cluster or path that could mean something to a shell
 */
export function renderFragment({ via, cluster, identity = "~/.ssh/id_ed25519" }: FragmentRequest): string {
  const host = checkCarrier(via);
  const name = checkCluster(cluster ?? host.replace(/^.*@/, "").split(".")[0] ?? "");
  const key = checkKey(identity);
  const directory = `.gangway/ssh/${name}`;
  // What could end single quotes, in any shell, never gets to one: old versions of ssh take any name (CVE-2023-51385).
  const unsafe = ["'", "\\", "!", "`", "$", "%", " ", ";"].map((character) => `!*${character}*`);
  const pattern = [`*.job.${name}`, ...unsafe].join(",");
  const script = scriptLines({ host, name, key, directory }).join(" ");
  const settled = SETTLED.filter(([keyword]) => !["PermitLocalCommand", ...KEY_KINDS].includes(keyword));
  return [
    `# Made by gangway: jobs as JOB.job.${name} and NODE.JOB.job.${name}, through ${host}.\n`,
    "# Put this at the top of ~/.ssh/config, before every Host and Match line.\n",
    `Match originalhost "${pattern}" exec "sh -c '${script}' gangway '%n'"\n`,
    `  Include ~/${directory}/*.conf\n`,
    block(`Host *.job.${name}`, [
      ["ProxyCommand", "sh -c 'echo gangway: this job cannot be reached: see above >&2; exit 1'"],
      ["PermitLocalCommand", "yes"],
      ["IdentityFile", key],
      ["UserKnownHostsFile", "/dev/null"],
      ...settled,
    ]),
    // What follows was there before, and is for every host.
    "Match all\n",
  ].join("");
}

/** They are of the key that the session's kit has, which is ours to choose; here it is the user's. */
const KEY_KINDS = ["PubkeyAcceptedKeyTypes"];

function checkCluster(name: string): string {
  if (isNodeName(name)) return name;
  throw new UsageError(`${quoted(name)} cannot be the name of a cluster`, {
    hint: "name it with --cluster NAME: letters, digits, '-' and '_'",
    exitCode: STATUS.usage,
  });
}

function checkKey(path: string): string {
  const file = path.replace(/\.pub$/, "");
  if (/^(?:~\/|\/)[A-Za-z0-9_./+@,:-]+$/.test(file)) return file;
  throw new UsageError(`--identity ${quoted(path)}: this path cannot be written into the fragment`, {
    hint: "it begins with / or ~/, and has letters, digits, and '_./+@,:-' only",
    exitCode: STATUS.usage,
  });
}

interface Words {
  readonly host: string;
  readonly name: string;
  readonly key: string;
  readonly directory: string;
}

/**
 * The script, $1 is the name. Without quotes: so IFS is empty (nothing is split) and globbing is off, and `%` is doubled
 * for ssh. A connection that logged in leaves NAME.ok behind (LocalCommand); whoever comes next within ten minutes takes
 * it away and asks nobody. One that failed (the job's id is used again, by another job) leaves none, and the next asks.
 *
 * What the host answers is good for this one name only. HostName, from which a user's ControlPath may be made (%h, %C), is
 * the name as it was typed; HostKeyAlias is of the job that was asked for, and of the node, where one was named.
 */
function scriptLines({ host, name, key, directory }: Words): string[] {
  const path = "/[A-Za-z0-9_./+@,:-][A-Za-z0-9_./+@,:-]*";
  const base64 = "[A-Za-z0-9+/=][A-Za-z0-9+/=]*";
  return [
    "set -f; i=$IFS; IFS=; LC_ALL=C; export LC_ALL; umask 077; n=$1; p=; u=; s=; x=; c=; a=; h=; y=; z=; m=;",
    // A tilde for ssh and for LocalCommand: a home with a blank in it would come apart there.
    `e=x~/${directory}/$n; e=\${e#x};`,
    "is() { expr x$1 : x$2$ >/dev/null; };",
    "is $n [A-Za-z0-9][A-Za-z0-9_.+-]* || exit 1;",
    `k=${key.replace(/^~/, "$HOME")}; test -r $k.pub || { echo gangway: there is no $k.pub here: make a key by ssh-keygen -t ed25519 >&2; exit 1; };`,
    // j is the job, the last label or an HTCondor id of two; o is the node before it, and any where none or a number is there.
    `q=$(echo \${n%%.job.${name}} | tr A-Z a-z); j=\${q##*.}; o=\${q%%$j}; o=\${o%%.}; l=\${o##*.};`,
    "is $l.$j [0-9][0-9]*[.][0-9][0-9]* || is $l.$j [0-9][0-9]*[.][0-9][0-9]*-[0-9][0-9]* &&",
    `{ j=$l.$j; o=\${o%%$l}; o=\${o%%.}; }; is 0$o [0-9]* && o=*;`,
    `no() { echo gangway: the answer of ${host} is $@ >&2; exit 1; };`,
    `d=$HOME/${directory}; f=$d/$n; mkdir -p $d || exit 1;`,
    // Whoever takes it may use it.
    `case x$(find $d/$n.conf -mmin -${FRESH_MINUTES} 2>/dev/null) in x) ;; *) rm $f.ok 2>/dev/null && exit 0;; esac;`,
    "t=$d/.new.$$; rm -rf $t; mkdir $t || exit 1; bye() { rm -rf $t; }; fin() { exit 1; }; trap bye EXIT; trap fin HUP INT TERM;",
    `{ ssh -T -- ${host} gangway key authorize --kit \${n%%.${name}} <$k.pub || : >$t/failed; } | head -c ${LONGEST_REPLY} >$t/reply;`,
    "test -e $t/failed && { rm -f $f.conf $f.ok $f-cert.pub $f.hosts; exit 1; };",
    "while IFS=$i read -r k v w r; do case $k in",
    `certificate) is $v [a-z0-9.@-]*-cert-v01@openssh.com && is $w ${base64} && c=1 && echo $v $w >$t/cert;;`,
    `authority) is $v ssh-ed25519 && is $w ${base64} && a=1 && echo @cert-authority * $v $w >$t/hosts;;`,
    "host) is $v [A-Za-z0-9][A-Za-z0-9_.+-]* && p=$(echo $v | tr A-Z a-z);;",
    "user) is $v [A-Za-z0-9_.][A-Za-z0-9_.@+-]* && u=$v;;",
    `socket) is $v ${path} && s=$v;;`,
    `connector) is $v ${path} && x=$v;;`,
    // The job's host, where that is another one: the way goes on by ssh from there.
    "through) is $v [A-Za-z0-9][A-Za-z0-9_.-]* && h=$v || no not understood;;",
    // The node's address, where that is another host than the one that answers.
    "relay) is $v [0-9A-Fa-f.:][0-9A-Fa-f.:]* && is $w [0-9][0-9]* && y=$v && z=$w || no not understood;;",
    // Its workload manager leads to the node: gangway there goes on.
    "carried) is $v srun || is $v condor && m=$v || no not understood;;",
    "esac; done <$t/reply;",
    // What is empty is a pattern `x`.
    "case x in x$c|x$a|x$p|x$u|x$s|x$x) no not understood;; esac;",
    "case $p in $o.$j.job) ;; *) no for another job;; esac;",
    "{ echo Host $n; echo HostName $n; echo HostKeyAlias $p; echo User $u; echo CertificateFile $e-cert.pub;",
    "echo UserKnownHostsFile $e.hosts; echo LocalCommand touch $e.ok;",
    "w=$x; r=--stdio; test x$m = x || { w=gangway; r=proxy; s=--connect; y=$m; z=$p; };",
    `echo ProxyCommand ssh -T -- ${host} \${h:+ssh -T -- $h} $w $r $s $y $z; } >$t/conf;`,
    "mv -f $t/cert $f-cert.pub && mv -f $t/hosts $f.hosts && mv -f $t/conf $f.conf",
  ];
}
