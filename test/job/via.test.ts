import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { environmentOf, eventually, gangway, INSTALL, run, USER } from "./harness.ts";
import { CLIENTS, enter, saying, sessionFiles, withJob } from "./reach.ts";

/*
 * Through ssh to the host on which the job runs: here an sshd of the distribution's, run by the test user on a port of its own,
 * plays the login node. The laptop has nothing but OpenSSH, sh and the fragment.
 */

const PORT = 20_229;
const SSH = join(USER.home, ".ssh");
const LOGIN = `Host login.example.org
  HostName 127.0.0.1
  Port ${PORT}
  HostKeyAlias login
  IdentityFile ~/.ssh/id_ed25519
  BatchMode yes
`;

beforeAll(async () => {
  rmSync(SSH, { recursive: true, force: true });
  const { XDG_RUNTIME_DIR, DOCKER_HOST } = environmentOf({});
  const script = `cd; mkdir -m 700 .ssh; cd .ssh; umask 077
    ssh-keygen -q -t ed25519 -N '' -f id_ed25519; cp id_ed25519.pub authorized_keys; ssh-keygen -q -t ed25519 -N '' -f host
    echo "login $(cut -d' ' -f1,2 host.pub)" >known_hosts
    printf 'PATH=%s\\nXDG_RUNTIME_DIR=%s\\nDOCKER_HOST=%s\\n' '${INSTALL}/bin:/usr/bin:/bin' '${XDG_RUNTIME_DIR}' '${DOCKER_HOST}' >environment
    printf '%s\\n' 'Port ${PORT}' 'ListenAddress 127.0.0.1' "HostKey $PWD/host" "PidFile $PWD/pid" 'PermitUserEnvironment yes' 'UsePAM no' >sshd_config`;
  const made = await run(["sh", "-c", script]);
  if (made.code !== 0) throw new Error(made.stderr);
  writeFileSync(join(SSH, "config"), LOGIN);
  // The distribution's sshd wants its directory, also where it separates nothing.
  execFileSync("mkdir", ["-p", "/run/sshd"]);
  const started = await run(["/usr/sbin/sshd", "-f", join(SSH, "sshd_config"), "-E", join(SSH, "log")]);
  if (started.code !== 0) throw new Error(started.stderr);
  await eventually("the login node is there", 10, () => existsSync(join(SSH, "pid")));
});

afterAll(() => {
  process.kill(Number(readFileSync(join(SSH, "pid"), "utf8")), "SIGTERM");
  for (const path of [SSH, join(USER.home, ".gangway")]) rmSync(path, { recursive: true, force: true });
});

test("gangway ssh --via: a key for one session, and nothing of it stays", async () => {
  await withJob("reach-via", ["--nodes", "2"], async () => {
    const via = ["--via", "login.example.org"];
    expect(await enter([...via, "reach-via", "hostname; exit 4"])).toMatchObject({ code: 4, stdout: "node1\n" });
    expect(await enter([...via, "node2.reach-via.job", "hostname"])).toMatchObject({ code: 0, stdout: "node2\n" });
    expect(await enter([...via, "--connect", "ssh", "reach-via", "hostname"])).toMatchObject({ stdout: "node1\n" });
    expect(await enter([...via, "--connect", "tcp", "reach-via", "hostname"])).toMatchObject({
      code: 64,
      stderr: saying("is no way beside --via"),
    });
    expect(await enter([...via, "reach-none"])).toMatchObject({ code: 68, stderr: saying('no job "reach-none"') });
    expect(await enter(["--via", "nowhere.invalid", "reach-via"])).toMatchObject({ code: 76 });
    expect(sessionFiles()).toEqual([]);
  });
});

test("a laptop without gangway: by the fragment, whatever its user's shell is", async () => {
  const fragment = (await gangway(["ssh-config", "--via", "login.example.org"])).stdout;
  writeFileSync(join(SSH, "config"), `${fragment}${LOGIN}`);
  await withJob("reach-laptop", ["--nodes", "2"], async () => {
    const shells = ["/bin/sh", "/bin/bash", "/usr/bin/fish", "/usr/bin/tcsh"].filter((shell) => existsSync(shell));
    for (const ssh of CLIENTS) {
      for (const SHELL of shells) {
        const result = await run([ssh, "reach-laptop.job.login", "hostname; exit 5"], { env: { SHELL } });
        expect(result).toMatchObject({ code: 5, stdout: "node1\n" });
      }
      expect(await run([ssh, "node2.reach-laptop.job.login", "hostname"])).toMatchObject({ stdout: "node2\n" });
      expect(await run([ssh, "reach-none.job.login"])).toMatchObject({
        code: 255,
        stderr: saying('no job "reach-none"'),
      });
    }
    expect((await gangway(["key", "list", "reach-laptop", "--json"])).stdout.match(/"serial"/g)).toHaveLength(2);
  });
  // The id is used again by another job: one connection fails, and the next is asked for anew.
  await withJob("reach-laptop", [], async () => {
    const again = async () => await run([CLIENTS[0] ?? "", "reach-laptop.job.login", "hostname"]);
    expect(await again()).toMatchObject({ code: 255 });
    expect(await again()).toMatchObject({ code: 0, stdout: "node1\n" });
  });
});
