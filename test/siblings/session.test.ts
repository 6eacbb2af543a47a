// The session entry: the job's environment, directory and umask, then the account's shell with the arguments given.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  buildAll,
  buildSession,
  cleanUp,
  isAlive,
  makeDirectory,
  Started,
  sessionRunDir,
  sftpServer,
  until,
} from "./helpers.ts";

const { rig, witness } = buildAll();
const session = buildSession();

beforeEach(() => mkdirSync(sessionRunDir, { mode: 0o700 }));
afterEach(async () => {
  await cleanUp();
  rmSync(sessionRunDir, { recursive: true, force: true });
});
afterAll(() => rmSync(session, { force: true }));

const bySshd = {
  USER: "alice",
  LOGNAME: "alice",
  HOME: "/home/of/sshd",
  PATH: "/path/of/sshd",
  SHELL: witness,
  MAIL: "/var/mail/alice",
  TZ: "UTC",
  SSH_CLIENT: "10.0.0.1 1 2",
  SSH_CONNECTION: "10.0.0.1 1 10.0.0.2 2",
};

function writeJob(environment: string[], context: Record<string, string> = {}): void {
  writeFileSync(join(sessionRunDir, "environ"), environment.map((one) => `${one}\0`).join(""), { mode: 0o600 });
  const records = Object.entries({ cwd: "/usr", umask: "0022", ...context });
  writeFileSync(join(sessionRunDir, "context"), records.map(([key, value]) => `${key}=${value}\0`).join(""));
}

async function enter(args: string[], env: NodeJS.ProcessEnv = bySshd, argv0 = "shell") {
  const started = new Started(session, args, { env, argv0 });
  const code = await started.ended;
  return { code, out: started.out(), err: started.err() };
}

/** The environment of a session, as a list of records. */
async function environmentOf(env: NodeJS.ProcessEnv = bySshd): Promise<string[]> {
  const { code, out } = await enter(["-c", "environment"], env);
  expect(code).toBe(0);
  expect(out.endsWith("\0")).toBe(true);
  return out.slice(0, -1).split("\0");
}

const connection = ["SSH_CLIENT=10.0.0.1 1 2", "SSH_CONNECTION=10.0.0.1 1 10.0.0.2 2"];
/** No pid in the context: this node has no command. */
const noCommand = "_CONDOR_JOB_PIDS=";
const ssh = [...connection, noCommand];

describe("the environment", () => {
  it("is the job's, record for record, and what sshd says of the connection", async () => {
    const job = [
      "PATH=/job/bin",
      "HOME=/job/home",
      "NEWLINES=a\nb\n\nc",
      "a.b-c=dots",
      "1X=digit",
      "BASH_FUNC_hello%%=() {  echo hello\n}",
      "EMPTY=",
      "=odd",
      "NOEQUALS",
      "",
      `QUOTES="'\`$(echo no) %s \\ `,
      "UTF8=Grüße, 世界",
      `BIG=${"x".repeat(100_000)}`,
      "PWD=/elsewhere",
      "TWICE=1",
      "TWICE=2",
      "TERM=dumb",
      "LD_PRELOAD=",
    ];
    writeJob(job);
    expect(await environmentOf()).toEqual([...job, ...ssh]);
  });

  it("lacks what the job lacks, though sshd has it", async () => {
    writeJob(["ONLY=this"]);
    expect(await environmentOf()).toEqual(["ONLY=this", ...ssh]);
  });

  it("takes the client's value, once, where both have one", async () => {
    writeJob(["LANG=C", "A=1", "LANG=de_DE", "SSH_CLIENT=the job's", "LANGUAGE=x"]);
    expect(await environmentOf({ ...bySshd, LANG: "fr_FR", LAN: "z" })).toEqual([
      "A=1",
      "LANGUAGE=x",
      ...connection,
      "LANG=fr_FR",
      "LAN=z",
      noCommand,
    ]);
  });

  it("has sshd's TERM on a terminal, and the job's elsewhere", async () => {
    writeJob(["TERM=job"]);
    expect(await environmentOf({ ...bySshd, TERM: "client" })).toEqual(["TERM=job", ...ssh]);
    const tty = { ...bySshd, TERM: "client", SSH_TTY: "/dev/pts/0" };
    expect((await environmentOf(tty)).sort()).toEqual([...ssh, "SSH_TTY=/dev/pts/0", "TERM=client"].sort());
  });

  it("is sshd's own where init has written nothing that can be read", async () => {
    const own = Object.entries(bySshd).map(([name, value]) => `${name}=${value}`);
    expect(await environmentOf()).toEqual(own);
    mkdirSync(join(sessionRunDir, "environ"));
    expect(await environmentOf()).toEqual(own);
    rmSync(join(sessionRunDir, "environ"), { recursive: true });
    writeFileSync(join(makeDirectory(), "x"), "EVIL=1\0");
    symlinkSync("/proc/self/environ", join(sessionRunDir, "environ"));
    expect(await environmentOf()).toEqual(own);
  });

  it("holds thousands of variables", async () => {
    const job = Array.from({ length: 5000 }, (_, index) => `V${index}=${"v".repeat(index % 50)}`);
    writeJob(job);
    expect(await environmentOf()).toEqual([...job, ...ssh]);
  });

  it("that is cut short in its last record is used up to there", async () => {
    writeFileSync(join(sessionRunDir, "environ"), "A=1\0B=2", { mode: 0o600 });
    expect(await environmentOf()).toEqual(["A=1", "B=2", ...ssh]);
  });
});

describe("directory and umask", () => {
  it("are the job's", async () => {
    const place = join(makeDirectory(), "with\nnewline and blanks");
    mkdirSync(place);
    writeJob([], { cwd: place, umask: "0137" });
    expect((await enter([])).out).toBe(`shell\ncwd=${place}\numask=0137\n`);
  });

  it("fall back on the job's home, on the account's, on /, without a word", async () => {
    writeJob(["HOME=/usr/lib"], { cwd: "/no/such" });
    expect(await enter([])).toMatchObject({ out: expect.stringContaining("cwd=/usr/lib\n") as string, err: "" });
    writeJob(["HOME=/no"], { cwd: "/no/such" });
    const home = await enter([], { ...bySshd, HOME: "/usr/share" });
    expect(home).toMatchObject({ out: expect.stringContaining("cwd=/usr/share\n") as string, err: "" });
    writeJob([], { cwd: "/no/such" });
    expect(await enter([])).toMatchObject({ out: expect.stringContaining("cwd=/\n") as string, err: "" });
  });

  it.each(["", "8", "99999", "-1", "0022x"])("a umask that is none is left alone: %j", async (umask) => {
    writeJob([], { umask });
    expect((await enter([])).out).toContain("umask=0022\n");
  });
});

describe("the shell", () => {
  it("gets its arguments as sshd gave them", async () => {
    writeJob([]);
    const command = `a "b" $c\n${"long ".repeat(20_000)}`;
    expect((await enter(["-c", command])).out).toBe(`shell\n-c\n${command}\ncwd=/usr\numask=0022\n`);
    expect((await enter([], bySshd, "-bash")).out).toBe("-bash\ncwd=/usr\numask=0022\n");
  });

  it("starts with default dispositions, an empty mask and three descriptors", async () => {
    writeJob([]);
    const script = `exec ${witness} status`;
    const env = { ...bySshd, SHELL: "/bin/sh" };
    const started = new Started(rig, ["--dirty", "--", session, "-c", script], { env });
    expect(await started.ended).toBe(0);
    expect(started.out()).toMatch(/SigBlk:\t0{16}\nSigIgn:\t0{16}\nfds: 0 1 2\n/);
    const holder = new Started("/bin/sh", ["-c", `exec 7<&0 9>&1; exec ${session} -c '${script}'`], { env });
    expect(await holder.ended).toBe(0);
    expect(holder.out()).toContain("fds: 0 1 2\n");
  });

  it("that cannot be executed is replaced by /bin/sh, under its name", async () => {
    writeJob(["PATH=/usr/bin:/bin"]);
    for (const shell of ["/no/such/shell", "/etc/passwd", "relative", ""]) {
      const { code, out, err } = await enter(["-c", "echo $0 here; exit 3"], { ...bySshd, SHELL: shell });
      expect({ code, out, err }).toEqual({ code: 3, out: "sh here\n", err: "" });
    }
    const login = await enter(["-c", "echo $0"], { ...bySshd, SHELL: "/no/such" }, "-fish");
    expect(login.out).toBe("-sh\n");
  });

  it("is the first of those that the client asks for that is there, and SHELL says so", async () => {
    writeJob(["PATH=/usr/bin:/bin", "SHELL=/bin/cat"]);
    const asking = (shells: string) =>
      enter(["-c", "echo $0 $SHELL [$_CONDOR_SHELLS]"], { ...bySshd, _CONDOR_SHELLS: shells });
    expect(await asking("/no/such,relative,/etc/passwd,/tmp,/bin/dash,/bin/sh")).toEqual({
      code: 0,
      out: "dash /bin/dash []\n",
      err: "",
    });
    const none = await enter(["-c", "echo $0 [$_CONDOR_SHELLS]"], {
      ...bySshd,
      SHELL: "/bin/sh",
      _CONDOR_SHELLS: ",/no,,",
    });
    expect(none).toEqual({ code: 0, out: "shell []\n", err: "" });
  });

  it("ends as the shell ends", async () => {
    writeJob(["PATH=/usr/bin:/bin"]);
    expect((await enter(["-c", "exit 255"], { ...bySshd, SHELL: "/bin/sh" })).code).toBe(255);
    const started = new Started(rig, ["--", session, "-c", "kill -9 $$"], { env: { ...bySshd, SHELL: "/bin/sh" } });
    expect(await started.ended).toBe(137);
  });
});

describe("the job's processes", () => {
  const pidsOf = async (): Promise<string | undefined> =>
    (await environmentOf()).find((one) => one.startsWith("_CONDOR_JOB_PIDS="))?.split("=")[1];
  const started = new Set<number>();
  afterEach(() => {
    for (const pid of started) process.kill(pid, "SIGKILL");
    started.clear();
  });
  /** A command whose every process prints its pid, and lastly `ready`. */
  const start = async (script: string, argument = "") => {
    const file = join(makeDirectory(), "command");
    writeFileSync(file, script);
    const command = new Started("/bin/sh", [file, argument]);
    await command.says("ready\n");
    const printed = command.out().split("\n").slice(0, -2);
    for (const pid of printed) started.add(Number(pid));
    return { command, printed };
  };
  const descend = `echo $$; if [ $1 = 0 ]; then echo ready; exec sleep 60; fi; sh "$0" $(($1 - 1)) & wait`;

  it("are the command's, its children's and their children's, in this order", async () => {
    const { command, printed } = await start(descend, "3");
    expect(printed).toHaveLength(4);
    writeJob([], { pid: String(command.pid) });
    expect(await pidsOf()).toBe(printed.slice(0, 3).join(" "));
  });

  it("are 64 at most", async () => {
    const { command } = await start(
      "i=0; while [ $i -lt 80 ]; do sleep 60 & echo $!; i=$((i+1)); done; echo $$; echo ready; wait",
    );
    writeJob([], { pid: String(command.pid) });
    expect((await pidsOf())?.split(" ")).toHaveLength(64);
  });

  it("are none when the command has ended, or the number is another's by now", async () => {
    const { command, printed } = await start(descend, "1");
    writeJob([], { pid: String(command.pid) });
    expect(await pidsOf()).toBe(printed.join(" "));
    // What was not started by whoever started us is not the command.
    writeJob([], { pid: printed[1] ?? "" });
    expect(await pidsOf()).toBe("");
    writeJob([], { pid: String(command.pid) });
    process.kill(command.pid, "SIGKILL");
    started.delete(command.pid);
    await until("it is gone", () => !isAlive(command.pid));
    expect(await pidsOf()).toBe("");
  });

  it.each(["", "0", "-1", "1x", "99999999999999999999", "1 2"])("are none where the pid is none: %j", async (pid) => {
    writeJob([], { pid });
    expect(await pidsOf()).toBe("");
  });

  it("are what we say, whatever the job or the client says", async () => {
    writeJob(["_CONDOR_JOB_PIDS=1 2 3"]);
    const env = await environmentOf({ ...bySshd, _CONDOR_JOB_PIDS: "4" });
    expect(env.filter((one) => one.startsWith("_CONDOR"))).toEqual([noCommand]);
  });
});

describe("the agent", () => {
  const agents = join(sessionRunDir, "agents");
  const link = join(sessionRunDir, "agent.sock");
  const open: Server[] = [];
  beforeEach(() => {
    mkdirSync(agents);
    writeJob(["SSH_AUTH_SOCK=/of/the/job"]);
  });
  afterEach(() => {
    for (const server of open.splice(0)) server.close();
  });
  const listen = (path: string) =>
    new Promise<string>((done) => {
      const server = createServer();
      open.push(server);
      server.listen(path, () => {
        done(path);
      });
    });
  const agentOf = async (given: string) =>
    (await environmentOf({ ...bySshd, SSH_AUTH_SOCK: given })).find((one) => one.startsWith("SSH_AUTH_SOCK="));

  it("has one name in all sessions, which is that of the newest", async () => {
    const first = await listen(join(agents, "agent.1"));
    expect(await agentOf(first)).toBe(`SSH_AUTH_SOCK=${link}`);
    expect(readlinkSync(link)).toBe("agents/agent.1");
    const second = await listen(join(agents, "agent.2"));
    expect(await agentOf(second)).toBe(`SSH_AUTH_SOCK=${link}`);
    expect(readlinkSync(link)).toBe("agents/agent.2");
    expect(readdirSync(sessionRunDir).sort()).toEqual(["agent.sock", "agents", "context", "environ"]);
  });

  it("is the client's affair where sshd made none", async () => {
    const elsewhere = await listen(join(makeDirectory(), "agent.1"));
    const deeper = join(agents, "deeper");
    mkdirSync(deeper);
    const within = await listen(join(deeper, "agent.1"));
    writeFileSync(join(agents, "file"), "");
    symlinkSync(elsewhere, join(agents, "link"));
    const others = [
      elsewhere,
      within,
      join(agents, "file"),
      join(agents, "link"),
      join(agents, "none"),
      `${agents}/..`,
    ];
    for (const given of others) expect(await agentOf(given)).toBe(`SSH_AUTH_SOCK=${given}`);
    expect(existsSync(link)).toBe(false);
  });

  it("keeps its own name where the link cannot be made", async () => {
    const first = await listen(join(agents, "agent.1"));
    mkdirSync(join(link, "taken"), { recursive: true });
    expect(await agentOf(first)).toBe(`SSH_AUTH_SOCK=${first}`);
    expect(readdirSync(sessionRunDir).sort()).toEqual(["agent.sock", "agents", "context", "environ"]);
  });

  it("is the job's in a session without one", async () => {
    expect(await environmentOf()).toContain("SSH_AUTH_SOCK=/of/the/job");
  });
});

describe("the welcome", () => {
  const named = ["GANGWAY_JOB_ID=1234", "GANGWAY_NODE=node1"];
  /** What a session prints on a terminal before its shell does; `name` is the shell's argv[0]. */
  const onTerminal = async (name = "-bash", args: string[] = [], env: NodeJS.ProcessEnv = bySshd) => {
    const program = ["/bin/bash", "-c", 'exec -a "$@"', "bash", name, session, ...args];
    const started = new Started(rig, ["--tty", "--", ...program], { env });
    expect(await started.ended).toBe(0);
    expect(started.out()).toContain(`${name}\r\n`);
    return started.out().split(`${name}\r\n`)[0];
  };

  it("names node and job, and on the head the command's pids", async () => {
    writeJob(named);
    expect(await onTerminal()).toBe("Welcome to node1 of job 1234!\r\n");
    const command = new Started("/bin/sleep", ["60"]);
    writeJob(named, { pid: String(command.pid) });
    expect(await onTerminal()).toBe(
      `Welcome to node1 of job 1234!\r\nThe job's command runs with pid(s) ${command.pid}.\r\n`,
    );
  });

  it("is for a login shell on a terminal alone", async () => {
    writeJob(named);
    expect(await onTerminal("bash")).toBe("");
    expect(await onTerminal("bash", ["-c", "arguments"])).toBe("");
    expect((await enter([], bySshd, "-bash")).out).toBe("-bash\ncwd=/usr\numask=0022\n");
  });

  it("is not for whoever has a .hushlogin, in the job's home", async () => {
    const home = makeDirectory();
    writeFileSync(join(home, ".hushlogin"), "");
    writeJob([...named, `HOME=${home}`]);
    expect(await onTerminal()).toBe("");
    writeJob([...named, "HOME=/nonexistent"]);
    expect(await onTerminal("-bash", [], { ...bySshd, HOME: home })).toContain("Welcome");
  });

  it("is none where there is no job", async () => {
    writeJob(["GANGWAY_JOB_ID="]);
    expect(await onTerminal("-bash", [], { ...bySshd, GANGWAY_JOB_ID: "of the client" })).toBe("");
    rmSync(join(sessionRunDir, "environ"));
    expect(await onTerminal()).toBe("");
  });

  it("cannot command the terminal, and has an end", async () => {
    writeJob(["GANGWAY_JOB_ID=a\x1b[2Jb\n\x9bü", "GANGWAY_NODE=\x07\x7f"]);
    expect(await onTerminal()).toBe("Welcome to ?? of job a?[2Jb?????!\r\n");
    writeJob([`GANGWAY_JOB_ID=${"j".repeat(5000)}`, `GANGWAY_NODE=${"n".repeat(5000)}`]);
    expect(await onTerminal()).toMatch(/^Welcome to n{200,300} of job j{200,600}!\r\n$/);
  });
});

describe("sftp-server", () => {
  beforeEach(() => {
    writeJob(["FROM=job"], { umask: "0077" });
    copyFileSync(witness, sftpServer);
    chmodSync(sftpServer, 0o755);
  });
  const noShell = { ...bySshd, SHELL: "/no/such/shell" };
  const argv0Of = (out: string) => out.split("\n")[0];

  it("is executed without a shell, with its options, in the job's world", async () => {
    const { code, out } = await enter(["-c", `${sftpServer} -f AUTH  -l INFO -u 0022`], noShell);
    expect(code).toBe(0);
    expect(out).toBe(`${sftpServer}\n-f\nAUTH\n-l\nINFO\n-u\n0022\ncwd=/usr\numask=0077\n`);
    expect(argv0Of((await enter(["-c", sftpServer], noShell)).out)).toBe(sftpServer);
  });

  it.each([
    "; touch MARK",
    " `touch MARK`",
    " $(touch MARK)",
    " > MARK",
    "\ntouch MARK",
    "-other",
    " '' && touch MARK",
  ])("followed by %j is the shell's affair", async (rest) => {
    const mark = join(sessionRunDir, "mark");
    const { out } = await enter(["-c", `${sftpServer}${rest.replaceAll("MARK", mark)}`], bySshd);
    // The account's shell here is the witness: it has been given the command as it is.
    expect(out.startsWith("shell\n-c\n")).toBe(true);
    expect(existsSync(mark)).toBe(false);
  });

  it("of the image is no special case", async () => {
    expect((await enter(["-c", "/usr/lib/openssh/sftp-server"], bySshd)).out.startsWith("shell\n-c\n")).toBe(true);
    expect(readFileSync(sftpServer).length).toBeGreaterThan(0);
  });
});
