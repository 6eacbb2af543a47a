import { describe, expect, test, vi } from "vitest";
import { inPart } from "../whole.ts";
import {
  DOCKER,
  gangway,
  IMAGES,
  MANY,
  PODMAN,
  type RigEngine,
  ROOTLESS,
  type RunResult,
  type TestUser,
  USER,
} from "./harness.ts";
import { HeldJob } from "./held.ts";

/*
 * A session is in the job's container, and like the job's command in everything that a process inherits. On both sides
 * the same static program looks at itself (`probe who`); the environment is what the kernel was given when the command,
 * or the session's shell, was executed.
 */

vi.setConfig({ maxConcurrency: 2 });

/** What nobody should have in an environment, and somebody has. */
const VALUES: Readonly<Record<string, string>> = {
  BLANKS: "  two  words and a trailing one ",
  LINES: "first\nPATH=/not/this/one\n\nlast\n",
  QUOTES: `it's "quoted" \`here\` and \\there\\`,
  EXPANDED: "$HOME $(id) %s %n !! ~ *",
  EQUAL: "a=b=c=",
  UTF8: "Grüße, 東京, 🚢",
  CONTROL: "\u001b[31m\t\u0007\r",
  EMPTY: "",
  LARGE: "0123456789".repeat(10_000),
  "a.b-c": "no identifier",
  "1X": "nor this",
  "BASH_FUNC_greet%%": '() {  echo "hello $1"\n}',
  PATH: "/job/first:/usr/local/bin:/usr/bin:/bin",
  MAIL: "/var/mail/of-the-job",
  TZ: "Pacific/Chatham",
  TERM: "of-the-job",
  LC_ALL: "C.UTF-8",
};

const WORKDIR = "/srv/the job's directory";

interface Place {
  readonly engine: RigEngine;
  readonly image: keyof typeof IMAGES;
  readonly user: TestUser;
  readonly words: readonly string[];
}

const LIMITS = [
  ...["--ulimit", "nofile=5000:9000", "--ulimit", "core=0:1000000", "--ulimit", "stack=4194304:8388608"],
  ...["--memory", "512m", "--cpus", "1.5", "--pids-limit", "400"],
];

const PLACES: readonly Place[] = [
  { engine: DOCKER, image: "debian", user: MANY, words: LIMITS },
  { engine: PODMAN, image: "debian", user: MANY, words: LIMITS },
  // Neither limits nor supplementary groups can be had there (docs/user.md).
  { engine: ROOTLESS, image: "debian", user: USER, words: [] },
  { engine: DOCKER, image: "bare", user: USER, words: [...LIMITS, "--env", "LD_PRELOAD=/not/there.so"] },
  { engine: DOCKER, image: "scratch", user: MANY, words: LIMITS },
  { engine: PODMAN, image: "foreign", user: USER, words: LIMITS },
  { engine: DOCKER, image: "locked", user: MANY, words: [...LIMITS, "--read-only", "--entrypoint", ""] },
];

/** The lines of `probe who` but for what the three descriptors are connected to. */
function inherited(who: string): string[] {
  return who
    .split("\n")
    .map((line) => line.replace(/^(fd\.\d+) .*/, "$1"))
    .sort();
}

/** A NUL-terminated environment. */
function variables(environ: string): string[] {
  return environ.split("\0").slice(0, -1);
}

/** What a session has besides the job's: sshd's word of the connection, and the job's processes as they are now. */
function isOfSession(variable: string): boolean {
  return /^(SSH_(CLIENT|CONNECTION|TTY)|_CONDOR_JOB_PIDS)=/.test(variable);
}

/** A job whose command has looked at itself; it then waits, and in the end reads what sessions have left for it. */
interface Witness {
  readonly job: HeldJob;
  readonly probe: string;
  readonly who: string;
  readonly environment: readonly string[];
}

async function startWitness({ engine, image, user, words }: Place): Promise<Witness> {
  const probe = image === "scratch" ? "/probe" : "probe";
  const values = Object.entries(VALUES).flatMap(([name, value]) => ["--env", `${name}=${value}`]);
  const parts = [
    ...[["who"], ["say", "(env)"], ["env"], ["write", "/t/of-command", "of the command"], ["say", "(end)", "ready"]],
    ...[["cat"], ["read", "/t/of-session"], ["read", "/t/of-sftp"]],
  ];
  const job = await HeldJob.start({
    engine,
    user,
    image: IMAGES[image],
    nodes: 2,
    words: ["--tmpfs", "/t:mode=1777", "--workdir", WORKDIR, ...values, ...words],
    command: [probe, ...parts.flatMap((part) => ["--", ...part]).slice(1)],
  });
  const [who = "", environ = ""] = job.stdout.split(/\((?:env|end)\)\n/);
  return { job, probe, who, environment: variables(environ) };
}

interface Session {
  readonly name: string;
  readonly terminal?: boolean;
  readonly login?: boolean;
  enter(job: HeldJob, script: string): Promise<RunResult>;
}

const SESSIONS: readonly Session[] = [
  { name: "gangway shell -- COMMAND", enter: (job, script) => job.shell(["eval", script]) },
  {
    name: "gangway shell, a login shell",
    login: true,
    enter: (job, script) => gangway(["shell", job.id], { ...job.options, input: script }),
  },
  { name: "ssh COMMAND of the host, by the access kit", enter: (job, script) => job.ssh([`${job.id}.job`, script]) },
  { name: "ssh COMMAND on the node itself", enter: (job, script) => job.shell(["ssh", "node1", script]) },
  { name: "ssh COMMAND from another node", enter: (job, script) => job.shell(["ssh", "node1", script], "node2") },
  {
    name: "ssh, a login shell, from another node",
    login: true,
    enter: (job, script) => job.shell(["ssh", "-T", "node1"], "node2", { input: script }),
  },
  {
    name: "ssh COMMAND with a terminal",
    terminal: true,
    enter: (job, script) => job.shell(["ssh", "-tt", "node1", script], "node2"),
  },
  {
    name: "ssh, a login shell with a terminal",
    login: true,
    terminal: true,
    enter: (job, script) => job.shell(["ssh", "-tt", "node1"], "node2", { input: script }),
  },
];

/** Lets a session show itself, and compares. It writes to files, since its streams may be a terminal. */
async function compare({ job, probe, who, environment }: Witness, session: Session): Promise<void> {
  const { name, terminal = false, login = false } = session;
  const script = `cat "/proc/$$/environ" >/t/environ; ${probe} who >/t/who; echo "$PATH" >/t/path; exit 7\n`;
  const { code, stdout, stderr } = await session.enter(job, script);
  if (terminal) expect(code, name).toBe(7);
  else expect({ code, stdout, stderr }, name).toEqual({ code: 7, stdout: "", stderr: "" });

  const files = await job.shell(["eval", "for f in who environ path; do cat /t/$f; echo '(end)'; done; rm /t/who"]);
  const [itself = "", environ = "", path = ""] = files.stdout.split("(end)\n");
  expect(inherited(itself), name).toEqual(inherited(who));

  const all = variables(environ);
  const ofSession = (variable: string) => isOfSession(variable) || (terminal && variable.startsWith("TERM="));
  const ofJob = (variable: string) => !ofSession(variable);
  expect(all.filter(ofJob), name).toEqual(environment.filter(ofJob));
  const names = all.filter(ofSession).map((variable) => variable.replace(/=.*/s, ""));
  expect(names.sort(), name).toEqual([
    "SSH_CLIENT",
    "SSH_CONNECTION",
    ...(terminal ? ["SSH_TTY", "TERM"] : []),
    "_CONDOR_JOB_PIDS",
  ]);

  // A login shell's own profile may add to it; it still begins and ends with what is ours and has the job's between.
  const found = path.trimEnd().split(":");
  expect(found.slice(0, 2), name).toEqual(["/opt/udiImage/bin", "/job/first"]);
  expect(found.at(-1), name).toBe("/opt/udiImage/tools");
  if (!login) expect(found.join(":"), name).toBe(`/opt/udiImage/bin:${VALUES.PATH}:/opt/udiImage/tools`);
}

function checkCommand({ who, environment }: Witness, { user, words }: Place): void {
  for (const [name, value] of Object.entries({
    ...VALUES,
    PATH: `/opt/udiImage/bin:${VALUES.PATH}:/opt/udiImage/tools`,
  }))
    expect(environment).toContain(`${name}=${value}`);
  const facts = inherited(who);
  expect(facts).toContain(`uid ${user.uid} ${user.uid} ${user.uid}`);
  expect(facts).toContain("CapEff 0000000000000000");
  expect(facts).toContain("NoNewPrivs 1");
  expect(facts).toContain("SigIgn 0000000000000000");
  expect(facts).toContain("SigBlk 0000000000000000");
  expect(facts.filter((fact) => fact.startsWith("fd."))).toEqual(["fd.0", "fd.1", "fd.2"]);
  if (words.length > 0) expect(facts).toContain("limit.nofile 5000 9000");
  const groups =
    facts
      .find((fact) => fact.startsWith("groups "))
      ?.split(" ")
      .slice(1) ?? [];
  if (user === MANY) expect(groups.length).toBeGreaterThanOrEqual(60);
}

/** The control groups' own files: every group that the session is in lists the command as well. */
async function checkControlGroups({ job }: Witness): Promise<void> {
  const pid = /(?:^|\0)pid=(\d+)\0/.exec(job.read(0, "context"))?.[1];
  const script = `
    for group in /sys/fs/cgroup /sys/fs/cgroup/*; do
      grep -qsx $$ "$group/cgroup.procs" || continue
      grep -qx ${pid} "$group/cgroup.procs" && echo with || echo "without in $group"
    done`;
  const { stdout, stderr, code } = await job.shell(["eval", script]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  expect(new Set(stdout.trim().split("\n"))).toEqual(new Set(["with"]));
}

/** In a directory that no other container, and nothing of the host, has. */
async function exchangeFiles({ job }: Witness): Promise<void> {
  const read = await job.shell(["cat", "/t/of-command"]);
  expect(read).toMatchObject({ code: 0, stdout: "of the command", stderr: "" });
  await job.shell(["eval", "printf 'of a session, ' >/t/of-session; printf 'of sftp' >/t/source"]);
  const batch = ["pwd", "get /t/source /t/copy", "put /t/copy /t/of-sftp"].join("\n");
  await job.shell(["eval", "cat >/t/batch"], "node2", { input: batch });
  const sftp = await job.shell(["sftp", "-b", "/t/batch", "node1"], "node2");
  const log = [
    "sftp> pwd",
    `Remote working directory: ${WORKDIR}`,
    ...batch
      .split("\n")
      .slice(1)
      .map((line) => `sftp> ${line}`),
  ];
  expect(sftp).toMatchObject({ code: 0, stderr: "", stdout: `${log.join("\n")}\n` });
}

/** The shell of a session has the functions that the job's environment exports. */
async function callFunction({ job }: Witness): Promise<void> {
  expect(await job.shell(["greet", "you"])).toMatchObject({ code: 0, stdout: "hello you\n", stderr: "" });
  const login = await gangway(["shell", job.id], { ...job.options, input: "greet you\n" });
  expect(login).toMatchObject({ code: 0, stdout: "hello you\n", stderr: "" });
}

describe.concurrent("a session is like the command", () => {
  test.each(inPart(PLACES, ({ engine, image }) => engine !== PODMAN || image === "foreign"))(
    "$engine.name, image $image, $user.name",
    async (place) => {
      const witness = await startWitness(place);
      const { job } = witness;
      try {
        checkCommand(witness, place);
        for (const session of SESSIONS) await compare(witness, session);
        await checkControlGroups(witness);
        if (place.image === "debian" || place.image === "foreign") await callFunction(witness);
        await exchangeFiles(witness);
      } finally {
        expect(await job.end()).toBe(0);
      }
      expect(job.stdout.endsWith("ready\nof a session, of sftp")).toBe(true);
      expect(job.stderr).toBe("");
    },
  );
});
