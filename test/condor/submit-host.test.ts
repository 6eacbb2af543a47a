import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { eventually, IMAGES, OTHER } from "../job/harness.ts";
import { driverWords, SIZES, type Step } from "../job/terminal.ts";
import { inPart } from "../whole.ts";
import { kill, killedAfter, nothingLeft, VICTIMS, type Victim, waitingSession } from "./carried.ts";
import { alignQueues, asRoot, CondorJob, condorUp, runThere, there } from "./condor.ts";

/*
 * From a host that only submits, which has no engine, no way to a container, homes of its own, and no file of any job: without
 * a word on how to get there, by condor_ssh_to_job.
 */

const MIB = 2 ** 20;
const SUBMIT = { machine: "submit" } as const;
/** As test/rig/condor.sh names it. */
const SCHEDD = "submit.site.test";
const WAITS = ["executable = wrapper", `arguments = "${IMAGES.debian} sleep 900"`];

let job: CondorJob;
const others: CondorJob[] = [];

const from = async (words: readonly string[], input: string | Buffer = "") =>
  await runThere(words, { ...SUBMIT, input });
const enter = async (...words: string[]) => await from(["gangway", "ssh", ...words]);

async function submit(...lines: string[]): Promise<CondorJob> {
  const submitted = await CondorJob.submit(lines, SUBMIT);
  others.push(submitted);
  return submitted;
}

/** HTCondor's machine is not so far as soon as the job runs. */
async function enterable(cluster: string): Promise<void> {
  await there(["gangway", "ssh", "--auto-retry", cluster, "true"], SUBMIT);
}

beforeAll(async () => {
  condorUp();
  job = await CondorJob.submit(WAITS, SUBMIT);
  await enterable(job.cluster);
});

afterAll(async () => {
  for (const submitted of [job, ...others]) await submitted.remove();
  for (const machine of ["first", "submit"] as const) await runThere(["condor_rm", "-all"], { machine });
  await nothingLeft();
});

describe("a session from a submit host", () => {
  test("is in the job's container, with the command's status, and not a word of HTCondor's", async () => {
    const { code, stdout, stderr } = await enter(`${job.cluster}.0`, "cat /etc/debian_version; exit 7");
    expect({ code, stderr }).toEqual({ code: 7, stderr: "" });
    expect(stdout).toMatch(/^12\./);
    const told = await enter(job.cluster, "printenv GANGWAY_JOB_ID");
    expect(told).toMatchObject({ code: 0, stdout: `${job.cluster}.0\n`, stderr: "" });
    await nothingLeft();
  });

  test("has a terminal with its size, and its changes", async () => {
    const argv = ["gangway", "ssh", "-t", job.cluster, SIZES];
    const steps: Step[] = [{ expect: "^30 90$" }, { resize: [50, 132] }, { expect: "^50 132$" }, { send: "\u0003" }];
    const { stdout } = await from(["env", "TERM=xterm", ...driverWords(argv, steps)]);
    expect(JSON.parse(stdout)).toMatchObject({ missing: null, code: 130 });
  });

  test("takes bytes both ways, whole; files by sftp, scp and rsync", async () => {
    const data = randomBytes(4 * MIB);
    const sum = createHash("sha256").update(data).digest("hex");
    const echo = await from(["gangway", "ssh", job.cluster, "cat"], data);
    expect(createHash("sha256").update(echo.bytes).digest("hex")).toBe(sum);
    const script = `cat >carried.data
      rsync -e 'gangway ssh' carried.data ${job.cluster}.0:/tmp/carried.rsync
      gangway ssh --ssh 'scp -q' ${job.cluster} carried.data remote:/tmp/carried.scp
      echo 'put carried.data /tmp/carried.sftp' | gangway ssh --ssh 'sftp -q -b -' ${job.cluster}
      rm carried.data`;
    expect(await from(["sh", "-e", "-c", script], data)).toMatchObject({ code: 0, stderr: "" });
    const sums = await enter(job.cluster, "for f in rsync scp sftp; do sha256sum </tmp/carried.$f; done");
    expect(sums.stdout).toBe(`${sum}  -\n`.repeat(3));
    await nothingLeft();
  });

  test("forwards from here (-L, -D) and from there (-R): by each to the node's own sshd", async () => {
    const hosts = JSON.parse(await there(["gangway", "hosts", "--json", `${job.cluster}.0`])) as { port: number }[];
    const port = hosts[0]?.port ?? 0;
    // SOCKS 5 (RFC 1928): a connection to 127.0.0.1, without a word on who asks.
    const socks = `import socket; s = socket.create_connection(("127.0.0.1", 18102)); s.sendall(b"\\5\\1\\0"); s.recv(2)
s.sendall(b"\\5\\1\\0\\1\\177\\0\\0\\1" + (${port}).to_bytes(2, "big")); s.recv(10); print(s.recv(8).decode())`;
    const words = ["-4", "-R", "18101:127.0.0.1:18100", "-L", `18100:127.0.0.1:${port}`, "-D", "18102", job.cluster];
    const remote = "exec 3<>/dev/tcp/127.0.0.1/18101 && head -c 8 <&3; echo; cat >/dev/null";
    const script = `{ until python3 -c '${socks}' 2>/dev/null; do sleep 0.2; done >socks; echo; } |
      gangway ssh ${words.join(" ")} '${remote}'; cat socks; rm socks`;
    expect(await from(["bash", "-c", script])).toMatchObject({ code: 0, stdout: "SSH-2.0-\nSSH-2.0-\n", stderr: "" });
    await nothingLeft();
  });

  test("is there in HTCondor's spelling, by gangway shell and by gangway doctor, too", async () => {
    const { cluster } = job;
    const tell = "echo $GANGWAY_JOB_ID; exit 3";
    const said = { code: 3, stdout: `${cluster}.0\n`, stderr: "" };
    for (const words of [[], ["-name", SCHEDD]]) {
      expect(await from(["gangway", "condor_ssh_to_job", ...words, cluster, tell])).toMatchObject(said);
    }
    expect(await from(["gangway", "shell", `${cluster}.0`, "--", "sh", "-c", tell])).toMatchObject(said);
    const doctor = await from(["gangway", "doctor", `${cluster}.0`]);
    expect(doctor.stdout).toMatch(/^ok +way condor +HTCondor carries to \S+, and a session works$/m);
    expect(doctor.code).toBe(0);
    await nothingLeft();
  });
});

describe("a job that cannot be entered from a submit host", () => {
  test.each([
    ["held", ["hold = True"], STATUS.unreachable, "The job is on hold: "],
    ["idle", ["requirements = False"], STATUS.notYet, " is not running."],
  ] as const)("%s", async (_name, lines, code, message) => {
    const { cluster } = await submit(...WAITS, ...lines);
    const { stderr, ...told } = await enter(`${cluster}.0`, "true");
    expect(stderr).toContain(message);
    expect(told.code).toBe(code);
  });

  test("removed, ended, never there, somebody else's", async () => {
    const removed = await submit("executable = /bin/true", "hold = True");
    await removed.remove();
    const ended = await submit("executable = /bin/true", "transfer_executable = false");
    await eventually("it has ended", 60, async () => (await ended.attribute("JobStatus")) === "");
    for (const [cluster, code, message] of [
      [removed.cluster, STATUS.ended, "has been removed"],
      [ended.cluster, STATUS.ended, "has completed"],
      ["99999", STATUS.noSuchJob, 'there is no job "99999.0"'],
    ] as const) {
      const { stderr, ...told } = await enter(`${cluster}.0`, "true");
      expect(stderr).toContain(message);
      expect(told.code).toBe(code);
    }
    const foreign = await runThere(["gangway", "ssh", `${job.cluster}.0`, "true"], { ...SUBMIT, user: OTHER });
    expect(foreign.stderr).toContain("not authorized");
    expect(foreign.code).toBe(STATUS.notYours);
  });

  test("in HTCondor's spelling: HTCondor's words", async () => {
    const { cluster } = await submit(...WAITS, "hold = True");
    for (const id of [cluster, "99999"]) {
      const [ours, theirs] = await Promise.all([
        from(["gangway", "condor_ssh_to_job", id, "true"]),
        from(["condor_ssh_to_job", id, "true"]),
      ]);
      expect(ours.stderr.split("\n")[0]).toBe(theirs.stderr.split("\n")[0]);
      expect(ours.code).toBe(theirs.code);
    }
  });
});

describe("a job's number in the queues of two hosts", () => {
  test("means this host's, whichever of the two launched first; what is not Gangway's is not taken for the other's", async () => {
    await alignQueues([], [], "submit");
    const plain = ["executable = /bin/sleep", "transfer_executable = false", 'arguments = "900"'];
    const theirs = [await CondorJob.submit(WAITS), await CondorJob.submit(WAITS)];
    try {
      for (const other of theirs) await other.running();
      const [ours, bare] = [await submit(...WAITS), await submit(...plain)];
      expect([ours, bare].map(({ cluster }) => cluster)).toEqual(theirs.map(({ cluster }) => cluster));
      await enterable(ours.cluster);
      for (const words of [
        ["gangway", "ssh", `${ours.cluster}.0`],
        ["gangway", "condor_ssh_to_job", "-name", SCHEDD, ours.cluster],
      ]) {
        const told = await from([...words, "printenv GANGWAY_JOB_ID"]);
        expect(told).toMatchObject({ code: 0, stdout: `${ours.cluster}.0-2\n`, stderr: "" });
      }
      await eventually("HTCondor gets into the other", 60, async () => {
        return (await from(["condor_ssh_to_job", bare.cluster, "true"])).code === 0;
      });
      const none = await enter(`${bare.cluster}.0`, "true");
      expect(none.stderr).toContain("is what another queue's job of that number launched");
      expect(none.code).toBe(STATUS.noSuchJob);
    } finally {
      for (const other of theirs) await other.remove();
    }
    await nothingLeft();
  });
});

describe("killed at some moment, nothing is left on either machine", () => {
  test.each(Object.keys(VICTIMS) as Victim[])("%s, while a command runs", async (victim) => {
    const session = await waitingSession(job.cluster);
    kill(victim);
    expect(await session.ended).not.toBe(0);
    await nothingLeft();
  });

  test.each(inPart([50, 250, 450, 700], (_, index) => index % 2 === 1))(
    "gangway, %i ms after its start",
    async (ms) => {
      expect(await killedAfter(job.cluster, ms)).not.toBe(0);
      await nothingLeft({ scratch: false });
    },
  );
});

describe("the submit host", () => {
  test("has no engine, no file of a job, and no way to where containers are", () => {
    const files = "find /run/docker.sock /dev/shm /etc/gangway -mindepth 2 2>/dev/null || :";
    expect(asRoot(["sh", "-c", files], "submit")).toBe("");
    // One line below the heading: to the other machine, and no further.
    expect(asRoot(["cat", "/proc/net/route"], "submit").trim().split("\n")).toHaveLength(2);
  });
});
