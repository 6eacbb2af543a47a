import { createHash, randomBytes } from "node:crypto";
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { each, startAndHear } from "../job/command.ts";
import {
  DIFFERENT_ENGINES,
  DOCKER,
  eventually,
  GANGWAY,
  IMAGES,
  inDirectory,
  PODMAN,
  ROOTLESS,
  run,
  start as startProgram,
  USER,
} from "../job/harness.ts";
import { onTerminal } from "../job/terminal.ts";
import { docker, ForeignContainer, importScratch } from "./foreign.ts";

/* Sessions in containers that Gangway did not start; and that nothing of them is left there. */

const MEBIBYTES = 8;
const sha = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
/** What the session's own variables are called; everything else is to be as `docker exec` has it. */
const OF_THE_SESSION = /^(SSH_|SHLVL=|_=|PWD=|OLDPWD=)/;

describe.each(DIFFERENT_ENGINES)("a container of $name", (engine) => {
  let container: ForeignContainer;
  beforeAll(async () => {
    const words = ["-e", "A_NAME=a value", "-w", "/usr/share", IMAGES.debian, "sleep", "1000"];
    container = await ForeignContainer.start(engine, words);
  });
  afterAll(async () => await container.remove());

  it("is entered as docker exec does: environment, directory, umask, user, groups", async () => {
    const script = "env; echo; pwd; umask; id; readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/cgroup";
    const facts = (text: string) =>
      text
        .split("\n")
        .filter((line) => !OF_THE_SESSION.test(line))
        .sort();
    const theirs = await container.exec(["sh", "-c", script]);
    const ours = await container.inject([script]);
    expect(ours).toMatchObject({ code: theirs.code, stderr: theirs.stderr });
    const added = /:\/opt\/udiImage\/bin:\/opt\/udiImage\/tools$/m;
    expect(ours.stdout).toMatch(added);
    expect(facts(ours.stdout.replace(added, ""))).toEqual(facts(theirs.stdout));
    expect(ours.stdout).toContain("A_NAME=a value\n");
  });

  it(`carries ${MEBIBYTES} MiB each way, and output that comes after the input's end`, async () => {
    const input = randomBytes(MEBIBYTES * 1024 * 1024);
    const echoed = await container.inject(["cat; echo the end"], { input });
    expect(sha(echoed.bytes)).toBe(sha(Buffer.concat([input, Buffer.from("the end\n")])));
    const errors = await container.inject(["head -c 1048576 /dev/zero >&2; exit 3"]);
    expect([errors.code, errors.stderr.length]).toEqual([3, 1_048_576]);
  });

  it("has a terminal, which follows the client's size", async () => {
    const { output, code } = await onTerminal(
      [GANGWAY, "inject", container.name],
      [
        { expect: "[$#] $" },
        { send: "unset HISTFILE; stty size; tty\r" },
        { expect: "30 90" },
        { expect: "/dev/pts/\\d+" },
        { resize: [41, 111] },
        { send: "sleep 0.2; stty size\r" },
        { expect: "41 111" },
        { send: "sleep 100\r" },
        { pause: 0.5 },
        { send: "\x03" },
        { send: "exit 5\r" },
      ],
      { engine },
    );
    expect(code, output).toBe(5);
  });

  it("serves sftp, scp and rsync", async () => {
    await inDirectory(async (cwd) => {
      const data = randomBytes(300_000);
      writeFileSync(join(cwd, "data"), data);
      chownSync(join(cwd, "data"), USER.uid, USER.gid);
      const { name } = container;
      const options = { cwd, engine };
      const copied = await container.inject(["data", `${name}:/tmp/one`], { cwd, words: ["--ssh", "scp -q"] });
      expect(copied).toMatchObject({ code: 0, stderr: "" });
      const input = "rename /tmp/one /tmp/two\n";
      const batch = await container.inject(["-b", "-"], { cwd, input, words: ["--ssh", "sftp -q"] });
      expect(batch).toMatchObject({ code: 0, stderr: "" });
      const rsh = ["rsync", "-a", "--remove-source-files", "-e", `${GANGWAY} inject`];
      expect(await run([...rsh, `${name}:/tmp/two`, "back"], options)).toMatchObject({ code: 0, stderr: "" });
      expect(sha(readFileSync(join(cwd, "back")))).toBe(sha(data));
    });
  });

  it("keeps nothing of a client that was killed", async () => {
    const { child } = await startAndHear(["inject", container.name, "echo up; exec sleep 987"], /up/, { engine });
    expect(await container.processes()).toMatch(/inject session .*sleep 987/s);
    child.kill("SIGKILL");
    await eventually("the session's processes are gone", 15, async () => {
      return !/inject session|sshd|sleep 987/.test(await container.processes());
    });
  });

  it("lets nobody withdraw under open sessions, unless forced; then nothing has changed in it", async () => {
    const { ended } = await startAndHear(["inject", container.name, "echo up; exec sleep 987"], /up/, { engine });
    const refused = await container.withdraw();
    expect(refused).toMatchObject({ code: 75, stdout: "" });
    expect(refused.stderr).toContain("sessions are open");
    expect(await container.withdraw(["--force"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
    expect((await ended).code).not.toBe(0);
    // What the sessions of these tests changed themselves, by making files in /tmp.
    const own = (line: string) => line !== "C /tmp" && line !== "";
    expect((await container.diff()).split("\n").filter(own)).toEqual(container.before.split("\n").filter(own));
    expect(await container.exec(["ls", "/opt"])).toMatchObject({ code: 0, stdout: "" });
  });

  it.each([
    ["stopped", ["stop", "-t", "0"], /does not run \((exited|stopped)\)/],
    ["removed", ["rm", "-f"], /has been removed|does not run/],
  ] as const)("whose container is %s meanwhile says so", async (_, words, says) => {
    const other = await ForeignContainer.start(engine, [IMAGES.debian, "sleep", "1000"]);
    try {
      const { ended } = await startAndHear(["inject", other.name, "echo up; exec sleep 987"], /up/, { engine });
      await docker(engine, [...words, other.name]);
      expect(await ended).toMatchObject({ code: 69, stderr: expect.stringMatching(says) as string });
    } finally {
      await docker(engine, ["rm", "-f", other.name]).catch(() => undefined);
    }
  });

  it("with a read-only root has the programs in its memory, and no longer when they are withdrawn", async () => {
    const sealed = await ForeignContainer.start(engine, ["--read-only", "-u", "4321", IMAGES.debian, "sleep", "1000"]);
    try {
      const script = "id -u; touch /x 2>/dev/null || echo sealed; echo $0";
      const tree = engine.name === "docker" ? "/dev/gangway-inject" : "/run/gangway-inject";
      const first = await sealed.inject([script]);
      expect(first).toMatchObject({ code: 0, stdout: `4321\nsealed\nsh\n`, stderr: "" });
      const input = "get /etc/hostname /dev/null\n";
      const batch = await sealed.inject(["-b", "-"], { input, words: ["--ssh", "sftp -q"] });
      expect(batch).toMatchObject({ code: 0, stderr: "" });
      const { ended } = await startAndHear(["inject", "--user", "0", sealed.name, "echo up; exec sleep 987"], /up/, {
        engine,
      });
      expect(await sealed.processes()).toContain(`${tree}/libexec/inject session`);
      expect(await sealed.withdraw()).toMatchObject({ code: 75, stdout: "" });
      expect(await sealed.withdraw(["--force"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect((await ended).code).not.toBe(0);
      expect(await sealed.diff()).toBe(sealed.before);
      expect((await sealed.exec(["find", "/dev", "/run", "/tmp", "-name", "*gangway*"])).stdout).toBe("");
      const beside = ["ps", "-aq", "--filter", `label=gangway.beside=${sealed.id}`];
      expect(await docker(engine, beside)).toMatchObject({ stdout: "" });
    } finally {
      await sealed.remove();
    }
  });
});

describe("a session", () => {
  const engine = DOCKER;
  let container: ForeignContainer;
  beforeAll(async () => {
    container = await ForeignContainer.start(engine, [IMAGES.debian, "sleep", "1000"]);
  });
  afterAll(async () => await container.remove());

  it("tells exactly how the command ended", async () => {
    const commands = { "exit 254": 254, "kill -9 $$": 137, "no-such-program": 127 };
    const ends = await each(Object.keys(commands), async (command) => (await container.inject([command])).code);
    expect(Object.fromEntries(ends)).toEqual(commands);
  });

  it("takes the container's name or id, ssh's options, and a command behind --", async () => {
    const id = (await run(["docker", "-H", engine.endpoint, "inspect", "-f", "{{.Id}}", container.name])).stdout.trim();
    const words = ["inject", "-T", "-oLogLevel=ERROR", id, "--", "echo", "-n", "'a  b'"];
    const result = await run([GANGWAY, ...words], { engine });
    expect(result).toMatchObject({ code: 0, stdout: "a  b", stderr: "" });
  });

  it("forwards connections to what listens in it", async () => {
    const port = 20_000 + (process.pid % 10_000);
    const python = `import socket
s = socket.create_server(("127.0.0.1", ${port})); print("up", flush=True); c, _ = s.accept()
c.sendall(b"forwarded " + c.recv(6)); c.close()`;
    const listening = ["inject", container.name, `exec python3 -c '${python}'`];
    const listener = await startAndHear(listening, /up/, { engine });
    const options = { words: ["-W", `127.0.0.1:${port}`], input: "there\n" };
    expect((await container.inject([], options)).stdout).toBe("forwarded there\n");
    expect((await listener.ended).code).toBe(0);
  });

  it("is root's as well, from root's own directory in memory", async () => {
    const runtime = mkdtempSync("/dev/shm/gangway-test-");
    try {
      const user = { name: "root", uid: 0, gid: 0, home: "/root", runtime };
      expect(await container.inject(["id -u"], { user })).toMatchObject({ code: 0, stdout: "0\n", stderr: "" });
      expect(readdirSync(join(runtime, "gangway"))).toEqual([`.injected-${container.id}`]);
    } finally {
      rmSync(runtime, { recursive: true });
    }
  });

  it("with --once leaves the container as it was", async () => {
    await container.withdraw();
    expect(await container.inject(["exit 4"], { words: ["--once", "-tt"] })).toMatchObject({ code: 4 });
    expect(await container.diff()).toBe(container.before);
    const none = await container.withdraw();
    expect(none).toMatchObject({ code: 0 });
    expect(none.stderr).toContain("nothing of Gangway's");
    const here = readdirSync(join(USER.runtime, "gangway"));
    expect(here.filter((name) => name.includes(container.id))).toEqual([]);
  });
});

describe("containers of many kinds", () => {
  const started: ForeignContainer[] = [];
  const start = async (words: readonly string[], engine = DOCKER) => {
    const container = await ForeignContainer.start(engine, words);
    started.push(container);
    return container;
  };
  afterAll(async () => {
    await Promise.all(started.map(async (container) => await container.remove()));
  });

  it.each([
    ["root without a capability", ["--cap-drop", "ALL"], "0\n"],
    [
      "a user without an account",
      ["--cap-drop=ALL", "-u", "2147483646:5432", "--group-add=777", "--security-opt=no-new-privileges"],
      "2147483646\n",
    ],
  ])("%s: the same user, a terminal, and no trace", async (_name, options, uid) => {
    const container = await start([...options, IMAGES.debian, "sleep", "1000"]);
    const theirs = await container.exec(["id"]);
    expect(await container.inject(["id -u; id"])).toMatchObject({ code: 0, stdout: uid + theirs.stdout, stderr: "" });
    const terminal = await container.inject(["stty -echo; tty"], { words: ["-tt", "-q"] });
    expect(terminal).toMatchObject({ code: 0, stdout: "/dev/pts/0\r\n" });
    expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
    expect(await container.diff()).toBe(container.before);
  });

  it("--user enters as somebody else, as docker exec does", async () => {
    const container = await start([IMAGES.debian, "sleep", "1000"]);
    const words = ["--user", "nobody:777"];
    const theirs = await container.exec(["sh", "-c", "id; pwd; echo $HOME"], words);
    expect(await container.inject(["id; pwd; echo $HOME"], { words })).toMatchObject({
      code: 0,
      stdout: theirs.stdout,
    });
  });

  it.each([DOCKER, ROOTLESS])(
    "an image with one program alone, on $name: a shell of ours, and /opt goes again",
    async (engine) => {
      const image = "gangway-test/inject-scratch";
      await importScratch(engine, image);
      const sealed = await start(["--read-only", image, "/sleep", "1000"], engine);
      expect(await sealed.inject(["echo $0; id -u"])).toMatchObject({ code: 0, stdout: "sh\n0\n" });
      const container = await start([image, "/sleep", "1000"], engine);
      expect(await container.inject(["echo $0; ls /; id -u"])).toMatchObject({ code: 0 });
      expect((await container.inject(["ls -d /opt /etc/passwd"])).stdout).toBe("/opt\n");
      expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
      expect(await container.diff()).toBe(container.before);
    },
  );

  it("a client that is told to end leaves no container beside the other one", async () => {
    const container = await start(["--read-only", IMAGES.bare, "sleep", "1000"], PODMAN);
    for (const after of [100, 200, 300, 400]) {
      const child = startProgram([GANGWAY, "inject", container.name, "true"], { engine: PODMAN });
      const ended = new Promise((resolve) => child.once("close", resolve));
      await new Promise((resolve) => setTimeout(resolve, after));
      child.kill("SIGINT");
      await ended;
      const { stdout } = await docker(PODMAN, ["ps", "-aq", "--filter", `label=gangway.beside=${container.id}`]);
      expect([after, stdout]).toEqual([after, ""]);
    }
  });

  it("what a client that was killed has begun is withdrawn as well", async () => {
    const container = await start([IMAGES.bare, "sleep", "1000"]);
    const root = ["-u", "0"];
    expect(await container.inject(["true"])).toMatchObject({ code: 0 });
    const cut = "cd /opt/udiImage; rm -r injected etc tools libexec/inject bin";
    expect(await container.exec(["sh", "-c", cut], root)).toMatchObject({ code: 0 });
    expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
    expect(await container.diff()).toBe(container.before);
  });

  it.each([
    ["a tmpfs at /opt", ["--tmpfs", "/opt"]],
    ["something at our own place", ["--tmpfs", "/opt/udiImage"]],
  ])("%s: nothing is put under it, nor into it, but into memory", async (_name, options) => {
    const container = await start([...options, IMAGES.bare, "sleep", "1000"]);
    expect(await container.inject(["ls -R /opt"], { words: ["--once"] })).toMatchObject({
      code: 0,
      stdout: (await container.exec(["ls", "-R", "/opt"])).stdout,
      stderr: "",
    });
    expect(await container.diff()).toBe(container.before);
    expect((await container.exec(["ls", "/dev"])).stdout).not.toContain("gangway");
  });

  it.each([
    [
      "no memory where programs can be started",
      PODMAN,
      ["--read-only", "--tmpfs", "/run:noexec", "--tmpfs", "/tmp:noexec"],
      "its root is read-only; and neither /dev nor /run nor /tmp of it is a place",
    ],
    ["the host's processes", DOCKER, ["--read-only", "--pid", "host"], "its root is read-only; and it shares"],
  ])("%s: said, and nothing written", async (_name, engine, options, message) => {
    const container = await start([...options, IMAGES.bare, "sleep", "1000"], engine);
    const result = await container.inject(["true"]);
    expect(result).toMatchObject({ code: 76, stdout: "" });
    expect(result.stderr).toContain(`nothing was put into container ${container.name}: ${message}`);
    expect(await container.diff()).toBe(container.before);
  });

  it("paused, stopped, unknown and one's own job: each its message", async () => {
    const container = await start([IMAGES.debian, "sleep", "1000"]);
    await run(["docker", "-H", DOCKER.endpoint, "pause", container.name]);
    expect(await container.inject(["true"])).toMatchObject({
      code: 75,
      stderr: expect.stringContaining("is paused") as string,
    });
    await run(["docker", "-H", DOCKER.endpoint, "unpause", container.name]);
    await run(["docker", "-H", DOCKER.endpoint, "kill", container.name]);
    expect(await container.inject(["true"])).toMatchObject({
      code: 69,
      stderr: expect.stringContaining("does not run") as string,
    });
    const unknown = await run([GANGWAY, "inject", "no-such-one", "true"], { engine: DOCKER });
    expect(unknown).toMatchObject({
      code: 68,
      stderr: expect.stringContaining('no container "no-such-one"') as string,
    });
    await inDirectory(async (cwd) => {
      const words = ["run", "-d", "--name", "inject-job", "--image", IMAGES.bare, "sleep", "100"];
      expect(await run([GANGWAY, ...words], { cwd })).toMatchObject({ code: 0 });
      const id = await run(["docker", "-H", DOCKER.endpoint, "ps", "-q", "--filter", "label=gangway.job=inject-job"]);
      const own = await run([GANGWAY, "inject", id.stdout.trim(), "true"], { engine: DOCKER });
      expect(own).toMatchObject({ code: 64, stderr: expect.stringContaining("gangway ssh inject-job") as string });
      await run([GANGWAY, "stop", "--signal", "KILL", "inject-job"]);
    });
  });

  it("a rootless engine's container is another engine's nobody", async () => {
    const container = await start([IMAGES.debian, "sleep", "1000"], ROOTLESS);
    expect(await container.inject(["true"], { engine: DOCKER })).toMatchObject({ code: 68 });
  });
});
