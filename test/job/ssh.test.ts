import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { eventually, gangway, IMAGES, inDirectory, start, USER } from "./harness.ts";
import { directoryOf, enter, saying, sessionFiles, withJob } from "./reach.ts";

/*
 * gangway ssh: ssh's words, options and exit status, into the job's container.
 */

test("ssh's words, options and exit status", async () => {
  await withJob("reach-words", ["--nodes", "2"], async () => {
    expect(await enter(["reach-words", "hostname; exit 7"])).toMatchObject({ code: 7, stdout: "node1\n", stderr: "" });
    expect(await enter(["reach-words", "kill -9 $$"])).toMatchObject({ code: 137 });
    // ssh joins its words by blanks, and the shell there takes them apart.
    expect(await enter(["reach-words", "printf", "[%s]", "a  b", "-x", "'c  d'"])).toMatchObject({
      stdout: "[a][b][-x][c  d]",
    });
    expect(await enter(["--", "reach-words", "echo", "-n", "x"])).toMatchObject({ stdout: "x" });
    expect(await enter(["reach-words", "-T", "--", "cat"], { input: "through\0both ways" })).toMatchObject({
      stdout: "through\0both ways",
    });
    for (const name of ["reach-words.node2", "reach-words.1", "node2.reach-words", "node2.reach-words.job"]) {
      expect(await enter([name, "hostname"])).toMatchObject({ code: 0, stdout: "node2\n" });
    }
    // A client that takes no -F: HTCondor's own template for one.
    const fixed = "-F none -oStrictHostKeyChecking=yes -oGlobalKnownHostsFile=none";
    const command = `ssh ${fixed} -oUser=%u -oIdentityFile=%i -oUserKnownHostsFile=%k -oProxyCommand=%x %h`;
    const env = { GANGWAY_CLIENTS: `theirs=${command}` };
    expect(await enter(["--ssh", "theirs -q", "reach-words.node2", "hostname; exit 4"], { env })).toMatchObject({
      code: 4,
      stdout: "node2\n",
      stderr: "",
    });
    expect(await enter(["-tt", "reach-words", "tty"])).toMatchObject({
      stdout: saying(/^\/dev\/pts\//),
    });
  });
});

test("by the socket first, by TCP where it is asked for", async () => {
  await withJob("reach-ways", [], async () => {
    const [socket, tcp] = await Promise.all([
      enter(["reach-ways", "echo $SSH_CONNECTION"]),
      enter(["--connect", "tcp", "reach-ways", "echo $SSH_CONNECTION"]),
    ]);
    expect(socket.stdout).toMatch(/^UNKNOWN 65535 \/run\/gangway\/ssh 65535\n$/);
    expect(tcp.stdout).toMatch(/^[0-9a-f.:]+ \d+ [0-9a-f.:]+ 1204\n$/);
  });
});

test("the user's own configuration is read where -F names it, behind the job's", async () => {
  await withJob("reach-config", [], () =>
    inDirectory(async (place) => {
      const config = `${place}/config`;
      writeFileSync(config, "Host *\n  SetEnv FROM_THEIRS=yes\n  User nobody\n  ProxyCommand false\n", { mode: 0o644 });
      expect(await enter(["-F", config, "reach-config", "echo $FROM_THEIRS; id -un"])).toMatchObject({
        code: 0,
        stdout: `yes\n${USER.name}\n`,
      });
      expect(sessionFiles()).toEqual([]);
    }),
  );
});

test("--auto-retry waits for the job, says for what, once each, and goes in", async () => {
  // A name that no job had before: one that ended is remembered for a week, and not waited for.
  const name = `reach-late-${process.pid}-${Date.now()}`;
  const entered = enter(["--auto-retry", name, "hostname"]);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await withJob(name, [], async () => {
    const { code, stdout, stderr } = await entered;
    expect({ code, stdout }).toEqual({ code: 0, stdout: "node1\n" });
    expect(stderr.split(`there is no job "${name}"`)).toHaveLength(2);
  });
});

test("--auto-retry ends by ^C with 130, and by TERM", async () => {
  const child = start([`${process.env.GANGWAY_TEST_INSTALL}/bin/gangway`, "ssh", "--auto-retry", "reach-never"]);
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += String(chunk);
  });
  await eventually("it waits", 20, () => said.includes("waiting: "));
  const ended = new Promise<number | string | null>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal)),
  );
  child.kill("SIGINT");
  expect([130, "SIGINT"]).toContain(await ended);
});

test("a job that ends while one is in it ends the session", async () => {
  const inside = await withJob("reach-end", [], async () => {
    const child = enter(["reach-end", "echo in; sleep 300"]);
    await eventually("the session is there", 20, () => existsSync(`${directoryOf("reach-end")}/0/sshd.log`));
    return { child };
  });
  expect((await inside.child).code).toBeGreaterThan(0);
});

test(`shell is as it was (${IMAGES.debian})`, async () => {
  await withJob("reach-shell", [], async () => {
    expect(await gangway(["shell", "reach-shell", "--", "sh", "-c", "exit 9"])).toMatchObject({ code: 9 });
  });
});
