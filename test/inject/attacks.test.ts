import { randomBytes } from "node:crypto";
import { chownSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream";
import { afterAll, describe, expect, it } from "vitest";
import { startAndHear } from "../job/command.ts";
import { DOCKER, eventually, GANGWAY, IMAGES, inDirectory, PODMAN, run, USER } from "../job/harness.ts";
import { docker, ForeignContainer } from "./foreign.ts";

/* Attacks on who injects as root: by another container that shares something, and by another user of the container. */

const started: ForeignContainer[] = [];
const start = async (words: readonly string[], engine = DOCKER) => {
  const container = await ForeignContainer.start(engine, words);
  started.push(container);
  return container;
};
/** Runs a script in a container; it must succeed. */
const made = async (container: ForeignContainer, script: string, words: readonly string[] = ["-u", "0"]) => {
  const result = await container.exec(["sh", "-c", script], words);
  expect(result, result.stderr).toMatchObject({ code: 0 });
};
afterAll(async () => {
  await Promise.all(started.map(async (container) => await container.remove()));
});

/** A program at a path that tells in a file as whom it was run. */
const evil = (path: string, report: string) =>
  `mkdir -p $(dirname ${path}); printf '#!/bin/sh\\nid -u > ${report}\\n' > ${path}; chmod 755 ${path}`;

describe("memory that another container has as well", () => {
  const MEMORY = ["-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=mode=755"];
  const volume = `gangway-test-${randomBytes(4).toString("hex")}`;
  it("is no place for the programs: what that one has put there is not run", async () => {
    await docker(DOCKER, ["volume", "create", ...MEMORY, volume]);
    const attacker = await start(["--cap-drop", "ALL", "-v", `${volume}:/run`, IMAGES.debian, "sleep", "1000"]);
    const tree = "/run/gangway-inject";
    await made(attacker, `${evil(`${tree}/libexec/inject`, "/run/ran-as")}; : > ${tree}/injected`);
    // The second by a link of the image: /var/run is /run.
    for (const place of ["/run", "/var/run"]) {
      const victim = await start(["--read-only", "-v", `${volume}:${place}`, IMAGES.debian, "sleep", "1000"]);
      const result = await victim.inject(["echo $PATH; cat /run/ran-as"]);
      expect([place, result]).toEqual([
        place,
        expect.objectContaining({ code: 1, stdout: expect.stringContaining(":/dev/gangway-inject/bin:") as string }),
      ]);
    }
    expect(await attacker.withdraw()).toMatchObject({
      stderr: expect.stringContaining("nothing of Gangway's") as string,
    });
    await made(attacker, `test -e ${tree}/libexec/inject && ! test -e /run/ran-as`);
  });

  it("is written by nobody, where there is no other", async () => {
    await docker(PODMAN, ["volume", "create", ...MEMORY, volume]);
    const options = ["--read-only", "--tmpfs", "/run:noexec", "-v", `${volume}:/tmp`];
    const victim = await start([...options, IMAGES.bare, "sleep", "1000"], PODMAN);
    const result = await victim.inject(["true"]);
    expect(result).toMatchObject({
      code: 76,
      stderr: expect.stringContaining("a place in memory of its own") as string,
    });
    expect((await victim.exec(["ls", "-A", "/tmp"])).stdout).toBe("");
  });

  afterAll(async () => {
    await Promise.all(started.splice(0).map(async (container) => await container.remove()));
    for (const engine of [DOCKER, PODMAN]) await docker(engine, ["volume", "rm", volume]);
  });
});

describe("another user of the container", () => {
  /** A process of its own whose words are a configuration for ssh, and whose files in /proc are root's. */
  const CONFIG = "#\nHost *\nProxyCommand sh -c 'id -u > /tmp/ran-as'\nMatch host nomatch\n#";
  const HIDDEN = `import ctypes, os, time
if ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0: os.symlink("/proc/%d/cmdline" % os.getpid(), "/run/gangway/ssh_config")
time.sleep(1000)`;
  it("does not tell root's ssh where to go by a run directory, which is a job's", async () => {
    const container = await start(["--user", "1000", IMAGES.debian, "sleep", "1000"]);
    // As with an image that has no /run, and a tmpfs there.
    await made(container, "chmod 1777 /run");
    const script = `mkdir -p /run/gangway/agents; PYTHONHOME=/usr exec -a "$(printf "${CONFIG}")" python3 -c 'exec(${JSON.stringify(HIDDEN)})'`;
    await container.exec(["bash", "-c", script], ["-d"]);
    const ssh = "/opt/udiImage/bin/ssh -p 1 127.0.0.1 true 2>&1";
    const wait =
      "for i in $(seq 100); do test -L /run/gangway/ssh_config && break; sleep 0.05; done; stat -Lc %u /run/gangway/ssh_config";
    const result = await container.inject([`${wait}; ${ssh}; cat /tmp/ran-as`], { words: ["--user", "0"] });
    expect(result.stdout).toMatch(/^0\nssh: connect to host 127.0.0.1 port 1: /);
    expect(result.code).toBe(1);
  });

  it("has no program of its own run at the tree's usual place, nor its configuration read", async () => {
    const container = await start([IMAGES.debian, "sleep", "1000"]);
    await made(container, "chown 1000 /opt");
    const programs = ["libexec/session", "libexec/sftp-server", "bin/ssh", "libexec/xauth", "libexec/ssh-askpass"];
    const theirs = programs.map((name) => evil(`/opt/udiImage/${name}`, "/tmp/ran-as"));
    const files = [
      "printf 'id -u > /tmp/ran-as\n' > /opt/udiImage/etc/sshrc",
      "printf 'ProxyCommand sh -c \"id -u > /tmp/ran-as\"\n' > /opt/udiImage/etc/ssh_config",
    ];
    await made(container, [...theirs, "mkdir /opt/udiImage/etc", ...files].join("; "), ["-u", "1000"]);
    const own = "/dev/gangway-inject/bin";
    const copy = `${own}/scp -P 1 127.0.0.1:x /tmp/; ${own}/ssh -p 1 127.0.0.1 true`;
    const result = await container.inject([`echo $PATH; (${copy}) 2>&1`], { words: ["--user", "0"] });
    expect(result.stdout).toContain(`:${own}:`);
    expect(result.stdout.match(/connect to host 127.0.0.1 port 1/g)).toHaveLength(2);
    expect((await container.exec(["ls", "/tmp"])).stdout).not.toContain("ran-as");
  });
});

describe("programs that root of the container has given to another user, as entrypoints do", () => {
  const memory = expect.stringMatching(/:\/(?:dev|run)\/gangway-inject\/bin:/) as string;
  it.each([DOCKER, PODMAN])("with all of /opt, when it was started again: $name", async (engine) => {
    const options = ["-u", "0", "--tmpfs", "/run:exec"];
    const script = "chown -R 1000 /opt/*; sleep 1000";
    const container = await start([...options, IMAGES.debian, "sh", "-c", script], engine);
    expect(await container.inject(["echo $PATH"])).toMatchObject({ code: 0 });
    await docker(engine, ["restart", "-t", "0", container.name]);
    await eventually("they are 1000's", 20, async () => {
      return (await container.exec(["stat", "-c", "%u", "/opt/udiImage/libexec"])).stdout === "1000\n";
    });
    await made(container, evil("/tmp/evil", "/tmp/ran-as"), ["-u", "1000"]);
    await made(container, "cd /opt/udiImage/libexec && rm inject && mv /tmp/evil inject", ["-u", "1000"]);
    expect(await container.inject(["echo $PATH"], { words: ["--user", "0"] })).toMatchObject({
      code: 0,
      stdout: memory,
    });
    expect((await container.exec(["ls", "/tmp"])).stdout).toBe("");
  });

  it.each(["libexec/inject", "sbin/sshd", "bin", "etc/sshd_config", "tools/busybox"])("%s alone", async (what) => {
    const container = await start([IMAGES.debian, "sleep", "1000"]);
    expect(await container.inject(["echo $PATH"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(":/opt/udiImage/bin:") as string,
    });
    await made(container, `chown 1000 /opt/udiImage/${what}`);
    await docker(DOCKER, ["restart", "-t", "0", container.name]);
    expect(await container.inject(["echo $PATH"], { words: ["--user", "0"] })).toMatchObject({
      code: 0,
      stdout: memory,
    });
  });
});

describe("a container whose first process is in a user namespace of its own", () => {
  /** Any user may make one, and be root of what is mounted there. */
  const UNSHARED = `import ctypes, time
libc = ctypes.CDLL(None)
if libc.unshare(0x10020000) == 0: open("/tmp/unshared", "w").close()
time.sleep(1000)`;
  it("gets nothing into its memory, since its root may be anything", async () => {
    const options = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
    const memory = ["--read-only", "--tmpfs", "/run:exec", "--tmpfs", "/tmp", "--user", "1000"];
    const container = await start([...options, ...memory, IMAGES.debian, "python3", "-c", UNSHARED]);
    await eventually("it has one", 10, async () => (await container.exec(["ls", "/tmp"])).stdout === "unshared\n");
    const refused = expect.stringContaining("its process 1 has made itself a user namespace") as string;
    expect(await container.inject(["true"], { words: ["--user", "0"] })).toMatchObject({ code: 76, stderr: refused });
    expect(await container.withdraw()).toMatchObject({ code: 76, stderr: refused });
    expect((await container.exec(["find", "/run", "/tmp", "/dev", "-name", "*gangway*"])).stdout).toBe("");
  });
});

it("what somebody has mounted in the programs is left alone when they are withdrawn", async () => {
  const options = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
  const container = await start([...options, IMAGES.debian, "sleep", "1000"]);
  expect(await container.inject(["true"])).toMatchObject({ code: 0 });
  // Of one file system, so that no number of a device tells them apart.
  await made(container, "mkdir /precious; echo x > /precious/x");
  const bind = 'import ctypes; exit(ctypes.CDLL(None).mount(b"/precious", b"/opt/udiImage/tools", None, 4096, None))';
  await made(container, `python3 -c '${bind}'`);
  expect(await container.withdraw()).toMatchObject({
    code: 76,
    stderr: expect.stringContaining("not all of /opt/udiImage could be removed") as string,
  });
  expect((await container.exec(["cat", "/precious/x"])).stdout).toBe("x\n");
});

describe("the container beside", () => {
  it("is held in by the other one's limits", async () => {
    const limits = ["--memory", "64m", "--pids-limit", "40", "--cpus", "0.9", "--cap-add", "SYS_PTRACE"];
    const container = await start(["--read-only", ...limits, IMAGES.debian, "sleep", "1000"]);
    await inDirectory(async (directory) => {
      // Between the client and the engine, since the container is there for a moment only.
      const socket = join(directory, "engine.sock");
      let said = "";
      const server = createServer((client) => {
        const engine = connect(DOCKER.endpoint.replace("unix://", ""));
        client.on("data", (data) => (said += data.toString("latin1")));
        pipeline(client, engine, client, () => engine.destroy());
      });
      await new Promise<void>((resolve) => server.listen(socket, resolve));
      chownSync(socket, USER.uid, USER.gid);
      try {
        const env = { DOCKER_HOST: `unix://${socket}` };
        expect(await container.inject(["true"], { env })).toMatchObject({ code: 0 });
      } finally {
        server.close();
      }
      const asked = /^POST .*name=gangway-beside-.*$[\s\S]*?(?=^[A-Z]+ \/)/m.exec(said)?.[0] ?? "";
      const numbers = { Memory: 67_108_864, MemorySwap: 67_108_864, PidsLimit: 40, NanoCpus: 900_000_000 };
      for (const [name, value] of Object.entries(numbers)) expect(asked).toContain(`"${name}":${value}`);
    });
  });

  it("that a client has left is removed a minute later, running or not, and never somebody's own", async () => {
    const image = `gangway-test/labelled-${randomBytes(4).toString("hex")}`;
    const target = await start(["--read-only", IMAGES.bare, "sleep", "1000"]);
    const label = ["--label", `gangway.beside=${target.id}`];
    const left = `gangway-beside-${randomBytes(8).toString("hex")}`;
    const own = `labelled-${randomBytes(4).toString("hex")}`;
    try {
      await docker(
        DOCKER,
        ["build", "-q", "-t", image, "-"],
        Buffer.from(`FROM ${IMAGES.bare}\nLABEL gangway.beside=x\n`),
      );
      await docker(DOCKER, ["create", "--name", own, image, "true"]);
      await docker(DOCKER, ["run", "-d", ...label, "--name", left, IMAGES.bare, "sleep", "1000"]);
      const names = async () => (await docker(DOCKER, ["ps", "-a", "--format", "{{.Names}}"])).stdout.split("\n");
      const withdraw = [GANGWAY, "inject", "--withdraw", target.name];
      // Not yet: another client may be waiting for it.
      expect(await run(withdraw, { engine: DOCKER })).toMatchObject({ code: 0 });
      expect(await names()).toEqual(expect.arrayContaining([left, own]));
      const later = "--import=data:text/javascript,const[n]=[Date.now];Date.now=()=>n()+12e4";
      expect(await run(withdraw, { engine: DOCKER, env: { NODE_OPTIONS: later } })).toMatchObject({ code: 0 });
      expect(await names()).not.toContain(left);
      expect(await names()).toContain(own);
      // By gc, too, where nobody injects any more.
      await docker(DOCKER, ["run", "-d", ...label, "--name", left, IMAGES.bare, "sleep", "1000"]);
      const gc = async (env = {}) =>
        // With a run base of its own: to the later clock another launch's directory would be an abandoned one.
        await inDirectory((base) => run([GANGWAY, "gc"], { engine: DOCKER, env: { XDG_RUNTIME_DIR: base, ...env } }));
      expect(await gc()).toMatchObject({ code: 0, stdout: "" });
      const said = "removed a container that killed clients of gangway inject left\n";
      expect(await gc({ NODE_OPTIONS: later })).toMatchObject({ code: 0, stdout: said });
      expect(await names()).not.toContain(left);
      expect(await names()).toContain(own);
    } finally {
      await run(["docker", "-H", DOCKER.endpoint, "rm", "-f", own, left], { engine: DOCKER });
      await run(["docker", "-H", DOCKER.endpoint, "rmi", image], { engine: DOCKER });
    }
  });
});

it("leaves no dead process where the container's first one reaps none, and none after a forced end", async () => {
  const container = await start(["--pids-limit", "30", IMAGES.debian, "sleep", "1000"]);
  for (const command of ["true", "exit 3", "sleep 0.1 & exec true"]) await container.inject([command]);
  const open = await startAndHear(["inject", container.name, "echo up; exec sleep 987"], /up/, {});
  expect(await container.withdraw(["--force"])).toMatchObject({ code: 0 });
  await open.ended;
  const count = "grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
  const dead = async () => (await container.exec(["sh", "-c", count])).stdout;
  await eventually("none is there", 5, async () => (await dead()) === "0\n");
});
