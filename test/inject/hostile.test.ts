import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { startAndHear } from "../job/command.ts";
import { DOCKER, GANGWAY, IMAGES, OTHER, PODMAN, ROOTLESS, run, USER } from "../job/harness.ts";
import { ForeignContainer } from "./foreign.ts";

/* Containers that mean harm to who injects into them, and what others see of it. */

describe("a hostile container", () => {
  const started: ForeignContainer[] = [];
  /** @param script makes it hostile; run as its root before anything else is done */
  const hostile = async (script: string, options: readonly string[] = []) => {
    const container = await ForeignContainer.start(DOCKER, [...options, IMAGES.debian, "sleep", "1000"]);
    started.push(container);
    const made = await container.exec(["sh", "-c", script], ["-u", "0"]);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    return { container, before: await container.diff() };
  };
  afterAll(async () => {
    await Promise.all(started.map(async (container) => await container.remove()));
  });

  const EVIL = "printf '#!/bin/sh\\nid -u > /tmp/ran-as\\n' > /tmp/evil; chmod 755 /tmp/evil";
  it("whose /opt is not safe gets nothing there, and none of its programs is run; its memory has ours", async () => {
    const { container } = await hostile(EVIL);
    const states = [
      ["mv /opt /elsewhere; ln -s elsewhere /opt", "rm /opt; mv /elsewhere /opt"],
      ["chown 1000 /opt", "chown 0 /opt"],
      ["chmod 1777 /opt", "chmod 755 /opt"],
      ["rmdir /opt; echo x > /opt", "rm /opt; mkdir /opt"],
      [
        `mkdir -p /opt/udiImage/libexec; cp /tmp/evil /opt/udiImage/libexec/inject; chown -R 1000 /opt/udiImage
         printf 'gangway-inject 1\nmtime /opt 0 0\n' > /opt/udiImage/injected`,
        "true",
      ],
    ] as const;
    for (const [make, undo] of states) {
      await container.exec(["sh", "-c", make]);
      const before = await container.diff();
      const result = await container.inject(["echo $PATH; cat /tmp/ran-as"]);
      expect([make, result]).toEqual([
        make,
        expect.objectContaining({ code: 1, stdout: expect.stringContaining(":/dev/gangway-inject/bin:") as string }),
      ]);
      expect(await container.diff()).toBe(before);
      await container.exec(["sh", "-c", undo]);
    }
  });

  // Podman's archives say of everything that the container's own user has it: whose it is has to be seen otherwise.
  it.each([PODMAN, ROOTLESS])("whose /opt is another user's gets nothing there on $name either", async (engine) => {
    const container = await ForeignContainer.start(engine, ["--tmpfs", "/run:exec", IMAGES.debian, "sleep", "1000"]);
    started.push(container);
    const tree = `mkdir -p /opt/udiImage/libexec; cp /tmp/evil /opt/udiImage/libexec/inject; : > /opt/udiImage/injected`;
    for (const make of ["chown 1000 /opt", `chown 0 /opt; ${EVIL}; ${tree}; chown -R 1000 /opt/udiImage`]) {
      expect(await container.exec(["sh", "-c", make])).toMatchObject({ code: 0 });
      const result = await container.inject(["echo $PATH; cat /tmp/ran-as"]);
      expect([make, result]).toEqual([
        make,
        expect.objectContaining({ code: 1, stdout: expect.stringContaining(":/run/gangway-inject/bin:") as string }),
      ]);
    }
    expect((await container.exec(["ls", "/opt"])).stdout).toBe("udiImage\n");
  });

  it.each([PODMAN, ROOTLESS])(
    "whose passwd says that root is somebody else gets nothing there on $name",
    async (engine) => {
      const words = ["--user", "root", IMAGES.debian, "sleep", "1000"];
      const container = await ForeignContainer.start(engine, words);
      started.push(container);
      const somebody = ["sed", "-i", "s/^root:x:0:/root:x:1000:/", "/etc/passwd"];
      expect(await container.exec(somebody, ["-u", "0"])).toMatchObject({ code: 0 });
      const refused = await container.inject(["true"]);
      expect(refused).toMatchObject({ code: 76, stdout: "" });
      expect(refused.stderr).toContain("the container's own user, root, whoever its passwd says that is; and");
      expect((await container.exec(["ls", "/opt"])).stdout).toBe("");
    },
  );

  it.each([PODMAN, ROOTLESS])("of another user than root gets nothing into its files on $name", async (engine) => {
    const words = ["--user", "1000", IMAGES.debian, "sleep", "1000"];
    const [closed, open] = await Promise.all([
      ForeignContainer.start(engine, words),
      ForeignContainer.start(engine, ["--tmpfs", "/run:exec", ...words]),
    ]);
    started.push(closed, open);
    const refused = await closed.inject(["true"]);
    expect(refused).toMatchObject({ code: 76, stdout: "" });
    expect(refused.stderr).toContain("Podman would give what is put into it to the container's own user, 1000; and");
    expect(await closed.diff()).toBe(closed.before);
    expect(await open.inject(["id -u; echo $PATH"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^1000\n.*:\/run\/gangway-inject\/bin:/) as string,
    });
  });

  it("what another user has put where its memory would have the programs is not run", async () => {
    const options = ["--read-only", IMAGES.bare, "sleep", "1000"];
    const container = await ForeignContainer.start(PODMAN, options);
    started.push(container);
    const evil = (place: string) =>
      `mkdir -p ${place}/libexec; cp /tmp/evil ${place}/libexec/inject; touch ${place}/injected`;
    const made = ["sh", "-c", `${EVIL}; ${evil("/run/gangway-inject")}`];
    expect(await container.exec(made, ["-u", "1000"])).toMatchObject({ code: 0 });
    const result = await container.inject(["echo $PATH; cat /tmp/ran-as"]);
    expect(result).toMatchObject({ code: 1, stdout: expect.stringContaining(":/tmp/gangway-inject/bin:") as string });
    expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
    expect((await container.exec(["ls", "-a", "/tmp"])).stdout).not.toContain("gangway");
    expect(await container.exec(["sh", "-c", evil("/tmp/gangway-inject")], ["-u", "1000"])).toMatchObject({ code: 0 });
    expect(await container.inject(["true"])).toMatchObject({
      code: 76,
      stderr: expect.stringContaining("the programs cannot be written to its memory: File exists") as string,
    });
    expect((await container.exec(["ls", "/tmp"])).stdout).not.toContain("ran-as");
  });

  it("that sees another's processes cannot have its sessions ended by a withdrawal", async () => {
    const { container: one } = await hostile("true", ["--pid", "host"]);
    const { container: other } = await hostile("true", ["--pid", "host"]);
    const kept = await startAndHear(["inject", one.name, "echo up; read line; exit 9"], /up/, {});
    const ended = await startAndHear(["inject", other.name, "echo up; exec sleep 987"], /up/, {});
    expect(await other.withdraw(["--force"])).toMatchObject({ code: 0, stderr: "" });
    expect((await ended.ended).code).not.toBe(0);
    kept.child.stdin.end("\n");
    expect((await kept.ended).code).toBe(9);
  });

  it("its environment and its accounts reach what the session runs, and nothing of ours", async () => {
    const environment = {
      LD_PRELOAD: "/nonexistent.so",
      GANGWAY_ACCOUNT: "/bin/evil",
      GANGWAY_INJECTED: "1",
      OPENSSL_CONF: "/etc/evil.cnf",
      BASH_ENV: "/etc/evil.sh",
    };
    const options = Object.entries(environment).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    const evil = [
      "printf 'gangway:x:0:0::/nowhere:/bin/evil\\n-oProxyCommand=x:x:1::\\nsshd:x:0:0:::\\n' > /etc/passwd",
      "printf 'passwd: evil\\n' > /etc/nsswitch.conf; : > /etc/nologin",
      "printf 'echo EVIL; exit 1\\n' > /etc/evil.sh",
    ];
    const { container, before } = await hostile(evil.join("; "), options);
    const theirs = await container.exec(["/usr/bin/printenv", "LD_PRELOAD", "OPENSSL_CONF", "GANGWAY_ACCOUNT"]);
    const ours = await container.inject(["/usr/bin/printenv LD_PRELOAD OPENSSL_CONF GANGWAY_ACCOUNT; id -u"], {
      words: ["-q"],
    });
    expect(ours).toMatchObject({ code: 0, stdout: `${theirs.stdout}0\n` });
    expect(await container.withdraw()).toMatchObject({ code: 0, stderr: "" });
    expect(await container.diff()).toBe(before);
  });

  it("one that answers in our program's place is told nothing, and its words are not obeyed", async () => {
    const { container } = await hostile("true");
    expect(await container.inject(["true"])).toMatchObject({ code: 0 });
    const evil =
      "printf '#!/bin/sh\\nprintf \"gangway-inject 1 ssh-ed25519 AAAA\\\\033]0;evil\\\\007\\\\n\"\\n' > /opt/udiImage/libexec/inject";
    expect(await container.exec(["sh", "-c", evil])).toMatchObject({ code: 0 });
    const result = await container.inject(["true"]);
    expect(result).toMatchObject({ code: 76, stdout: "" });
    expect(result.stderr).toContain("cannot serve in container");
    expect(result.stderr.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });
});

it("the key and what authorises it are nowhere to be seen from outside, but public halves", async () => {
  const container = await ForeignContainer.start(DOCKER, [IMAGES.debian, "sleep", "1000"]);
  try {
    const { child, ended } = await startAndHear(["inject", container.name, "echo up; exec sleep 987"], /up/, {});
    const lines = await container.processes();
    expect(lines).toMatch(/inject session ssh-ed25519 AAAA\S+ \n/);
    const files = await container.exec([
      "sh",
      "-c",
      "find / -xdev -newer /proc/1 -type f -not -path '/opt/udiImage/*' -not -path '/proc/*'",
    ]);
    expect(
      files.stdout.split("\n").filter((line) => !/^\/(sys|dev)\/|^\/etc\/(hosts|hostname|resolv\.conf)$/.test(line)),
    ).toEqual([""]);
    const here = () =>
      readdirSync(join(USER.runtime, "gangway")).filter((name) => name.startsWith(`.session-${child.pid}-`));
    expect(here()).toHaveLength(1);
    child.kill("SIGTERM");
    await ended;
    expect(here()).toEqual([]);
  } finally {
    await container.remove();
  }
});

it("another user of the node gets nothing", async () => {
  const result = await run([GANGWAY, "inject", "anything", "true"], { user: OTHER, engine: DOCKER });
  expect(result).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("no permission on the engine's socket") as string,
  });
});
