// The session entry: the job's environment, directory and umask, then the account's shell with the arguments given.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildAll, buildSession, cleanUp, makeDirectory, Started, sessionRunDir, sftpServer } from "./helpers.ts";

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

const ssh = ["SSH_CLIENT=10.0.0.1 1 2", "SSH_CONNECTION=10.0.0.1 1 10.0.0.2 2"];

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
      ...ssh,
      "LANG=fr_FR",
      "LAN=z",
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

  it("ends as the shell ends", async () => {
    writeJob(["PATH=/usr/bin:/bin"]);
    expect((await enter(["-c", "exit 255"], { ...bySshd, SHELL: "/bin/sh" })).code).toBe(255);
    const started = new Started(rig, ["--", session, "-c", "kill -9 $$"], { env: { ...bySshd, SHELL: "/bin/sh" } });
    expect(await started.ended).toBe(137);
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
