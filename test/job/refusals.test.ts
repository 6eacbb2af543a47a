import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { refusalsIn } from "../../src/session/refusals.ts";
import { GANGWAY, gangway, IMAGES, inDirectory, type RunResult, run, USER } from "./harness.ts";
import { saying } from "./reach.ts";

/*
 * What `gangway doctor JOB` makes of sshd's own words: each refusal really happens, by a certificate of the launcher's or
 * of ssh-keygen's, to a real sshd.
 */

const JOB = "refusals-1";
const directory = join(USER.runtime, "gangway", JOB);
const kit = join(directory, "kit/ssh_config");
const HINT = `gangway key authorize ${JOB} < KEY.pub > KEY-cert.pub`;

beforeAll(async () => {
  await inDirectory(async (cwd) => {
    const place = ["--no-mount-workdir", "--workdir", "/tmp"];
    const words = ["run", "-d", "--name", JOB, ...place, "--image", IMAGES.debian, "sleep", "300"];
    expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
  });
});
afterAll(async () => await gangway(["stop", "--signal", "KILL", JOB]));

async function shell(script: string, cwd: string): Promise<RunResult> {
  return await run(["sh", "-euc", script], { cwd, env: { GANGWAY } });
}

/** Is refused by the key `k`, with the certificate `k-cert.pub` where there is one. */
async function beRefused(cwd: string, proxy: string): Promise<void> {
  const options = [
    `UserKnownHostsFile=${directory}/kit/known_hosts`,
    `HostKeyAlias=node1.${JOB}.job`,
    "IdentitiesOnly=yes",
    "BatchMode=yes",
    `ProxyCommand=${proxy}`,
  ];
  const words = options.flatMap((option) => ["-o", option]);
  const result = await run(["ssh", "-F", "none", ...words, "-i", "k", `${USER.name}@${JOB}.job`, "true"], { cwd });
  expect(result).toMatchObject({ code: 255, stderr: saying("Permission denied (publickey)") });
}

async function newest(): Promise<{ detail: string; hint: string } | undefined> {
  const { stdout } = await gangway(["doctor", JOB, "--json"]);
  const findings = JSON.parse(stdout) as { what: string; detail: string; hint: string }[];
  return findings.filter(({ what }) => what === "refused").at(-1);
}

const connector = `$(dirname "$GANGWAY")/../lib/gangway/udiImage/libexec/connector`;

it.each<[string, string, RegExp, string]>([
  [
    "a certificate that has expired",
    `$GANGWAY key authorize --for 1s --comment desk ${JOB} k.pub >k-cert.pub; sleep 2`,
    /^node1, at some time: the certificate of key \d+ \(desk\) had expired, at 20/,
    `have it signed again: ${HINT}`,
  ],
  [
    "a key that was revoked",
    `$GANGWAY key authorize ${JOB} k.pub >k-cert.pub
     $GANGWAY key revoke ${JOB} $(ssh-keygen -lf k.pub | cut -d' ' -f2)`,
    /the key SHA256:\S+ was revoked$/,
    `have it signed again: ${HINT}`,
  ],
  [
    "a certificate of another authority",
    `ssh-keygen -q -t ed25519 -N '' -f ca; ssh-keygen -q -s ca -I x -n job-${JOB} k.pub`,
    /the key SHA256:\S+ came with a certificate of another authority$/,
    `each job has its own, also one that has an id again; for this one: ${HINT}`,
  ],
  [
    "a key that was signed, without its certificate",
    `$GANGWAY key authorize --comment desk ${JOB} k.pub`,
    /key \d+ \(desk\) came without its certificate$/,
    "give it to ssh beside the key: -i KEY -o CertificateFile=KEY-cert.pub",
  ],
  [
    "a key that was never signed",
    "true",
    /the key SHA256:\S+ was never signed for this job$/,
    `have it signed: ${HINT}`,
  ],
])("%s", async (_what, prepare, reason, hint) => {
  await inDirectory(async (cwd) => {
    expect(await shell(`ssh-keygen -q -t ed25519 -N '' -f k; ${prepare}`, cwd)).toMatchObject({ code: 0, stderr: "" });
    const path = (await shell(`echo ${connector}`, cwd)).stdout.trim();
    await beRefused(cwd, `${path} --stdio ${directory}/0/ssh`);
    expect(await newest()).toMatchObject({ detail: saying(reason), hint });
  });
});

/* The job's authority signs nothing of these kinds. So the same sshd, in the job, is told to trust one that does. */
it.each([
  ["for another job", "-n job-other", "a key's certificate was for another job"],
  ["not valid yet", `-n job-${JOB} -V +1d:+2d`, "a key's certificate was not valid yet"],
  ["not valid any more", `-n job-${JOB} -V -2d:-1d`, "a key's certificate had expired"],
])("a certificate that is %s", async (_what, options, reason) => {
  await inDirectory(async (cwd) => {
    const sshd = `sed "s#^TrustedUserCAKeys.*#TrustedUserCAKeys ${cwd}/ca.pub#" /opt/udiImage/etc/sshd_config >${cwd}/config
      exec /opt/udiImage/sbin/sshd -i -f ${cwd}/config -E ${cwd}/log\n`;
    const script = `umask 077; ssh-keygen -q -t ed25519 -N '' -f ca; ssh-keygen -q -t ed25519 -N '' -f k
      ssh-keygen -q -s ca -I x ${options} k.pub; printf %s "$SCRIPT" >sshd.sh; ssh-keygen -lf ca.pub | cut -d' ' -f2`;
    const made = await run(["sh", "-euc", script], { cwd, env: { SCRIPT: sshd } });
    expect(made).toMatchObject({ code: 0, stderr: "" });
    // The container has a /tmp of its own: what it needs goes there first.
    const copy = await run(
      ["sh", "-euc", `tar c ca.pub sshd.sh | ssh -F ${kit} ${JOB}.job 'mkdir -p ${cwd} && tar x -C ${cwd}'`],
      { cwd },
    );
    expect(copy).toMatchObject({ code: 0, stderr: "" });
    await beRefused(cwd, `ssh -T -F ${kit} ${JOB}.job sh ${cwd}/sshd.sh`);
    const log = await run(["ssh", "-F", kit, `${JOB}.job`, `cat ${cwd}/log`]);
    const surroundings = { job: JOB, authority: made.stdout.trim(), keys: [], now: new Date() };
    expect(refusalsIn(log.stdout, surroundings, 5).map((refusal) => refusal.reason)).toEqual([reason]);
  });
});

it("a job that ends while it is looked at is said to have ended, and nothing is guessed", async () => {
  await inDirectory(async (cwd) => {
    const id = "refusals-brief";
    expect((await gangway(["run", "-d", "--name", id, "--image", IMAGES.debian, "sleep", "3021"], { cwd })).code).toBe(
      0,
    );
    const launcher = Number(readFileSync(join(USER.runtime, "gangway", id, "launcher"), "utf8").split(":")[0]);
    const init = Number((await run(["pgrep", "-o", "-f", "libexec/init.*sleep 3021"])).stdout);
    expect(init).toBeGreaterThan(1);
    // A slow launcher: the container is gone, and the job still looks as if it ran.
    process.kill(launcher, "SIGSTOP");
    try {
      process.kill(init, "SIGKILL");
      const doctor = gangway(["doctor", id]);
      await setTimeout(1000);
      process.kill(launcher, "SIGCONT");
      const { code, stdout, stderr } = await doctor;
      expect({ code, stdout }).toEqual({ code: 69, stdout: "" });
      expect(stderr).toMatch(/has (just )?ended/);
    } finally {
      await run(["kill", "-CONT", String(launcher)]);
    }
  });
});

it("a job without a network has none, and was not told to be silent", async () => {
  await inDirectory(async (cwd) => {
    for (const [id, word, reason] of [
      ["refusals-none", "--network=none", "node1 has no network"],
      ["refusals-mute", "--no-listen", "node1 does not listen on TCP (--no-listen)"],
    ] as const) {
      await gangway(["run", "-d", "--name", id, word, "--image", IMAGES.debian, "sleep", "300"], { cwd });
      try {
        expect((await gangway(["doctor", id])).stdout).toContain(`way tcp     ${reason}\n`);
        const forced = await gangway(["ssh", "--connect", "tcp", id, "true"]);
        expect(forced).toMatchObject({ code: 76, stderr: saying(reason) });
      } finally {
        await gangway(["stop", "--signal", "KILL", id]);
      }
    }
  });
});
