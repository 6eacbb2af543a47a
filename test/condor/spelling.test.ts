import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, INSTALL, OTHER, type RunResult, run, USER } from "../job/harness.ts";
import { driverWords, type Step } from "../job/terminal.ts";
import { CondorJob, condorUp, runBase, runThere, there } from "./condor.ts";

/*
 * condor_ssh_to_job as Gangway has it: into the containers, with HTCondor's words. What HTCondor's own does in the same pool is
 * the oracle for words and statuses; into a container it gets only by a wrapper, and with less of what is tried here.
 */

const OURS = `${INSTALL}/lib/gangway/condor/condor_ssh_to_job`;
const TELL = "readlink /proc/self/ns/pid >instance; while [ ! -e go ]; do sleep 0.1; done; cat go; exit 5\n";

async function ours(words: readonly string[], options: { input?: string } = {}): Promise<RunResult> {
  return await runThere([OURS, ...words], options);
}

/** HTCondor's own, from where nothing of ours is in the way. */
const theirs = (words: readonly string[]) => runThere(["condor_ssh_to_job", ...words]);

/** A script of sh on the submit machine, in which `ours` is the command. */
async function script(text: string, ...words: string[]): Promise<RunResult> {
  return await runThere(["sh", "-c", `ours() { "${OURS}" "$@"; }\n${text}`, ...words]);
}

const SHELLS = { debian: "sh", bare: "sh", scratch: "/opt/udiImage/tools/sh" } as const;
const jobs = new Map<string, CondorJob>();
let held: CondorJob;
let idle: CondorJob;
/** Without a container. */
let plain: CondorJob;

function job(image: string): CondorJob {
  const found = jobs.get(image);
  if (found === undefined) throw new Error(`no job of ${image}`);
  return found;
}

async function submit(image: keyof typeof SHELLS, ...lines: string[]): Promise<CondorJob> {
  const words = ["executable = wrapper", `arguments = "${IMAGES[image]} ${SHELLS[image]} ./script"`];
  return await CondorJob.submit([...words, "transfer_input_files = script", ...lines], { files: { script: TELL } });
}

beforeAll(async () => {
  condorUp();
  for (const image of ["debian", "bare", "scratch"] as const) jobs.set(image, await submit(image));
  held = await submit("bare", "hold = true");
  idle = await submit("bare", "requirements = false");
  plain = await CondorJob.submit(["executable = /bin/sleep", "arguments = 900", "transfer_executable = false"]);
  for (const each of jobs.values()) await each.running();
  // Some time after the queue has it running.
  await eventually(
    "the plain job lets HTCondor's own in",
    60,
    async () => (await theirs([plain.cluster, "true"])).code === 0,
  );
});

afterAll(async () => {
  for (const each of [...jobs.values(), held, idle, plain]) await each.remove();
});

describe.each(["debian", "bare", "scratch"] as const)("into a job of the image %s", (image) => {
  test("a command has the job's instance, directory and environment, and its status comes back", async () => {
    const { cluster } = job(image);
    const text =
      "cat instance; readlink /proc/self/ns/pid; echo $GANGWAY_JOB_ID; [ . -ef $_CONDOR_SCRATCH_DIR ]; exit $?7";
    const { code, stdout } = await ours([`${cluster}.0`, text]);
    const [command, session, id] = stdout.split("\n");
    expect(session).toBe(command);
    expect({ code, id }).toEqual({ code: 7, id: `${cluster}.0` });
  });

  test("sftp, scp and rsync work without any of theirs in it, for whatever names files have", async () => {
    const { cluster } = job(image);
    const place = join(USER.home, `gangway-spelling-${image}`);
    const names = ["two  blanks", 'a\'quote "and" more', "grün-日本", "new\nline", "-dash", "*$HOME`id`"];
    await there(["mkdir", "-p", `${place}/tree`]);
    for (const name of names) await there(["sh", "-c", 'printf %s "$1" >"$0/tree/$1"', place, name]);
    const { code, stderr } = await script(
      `set -e; cd "$1"
       ours -ssh "scp -rq" "$0" tree remote:scp-copy; ours -ssh "scp -rq" "$0" remote:scp-copy scp-back
       printf 'put -r tree sftp-copy\\nget -r sftp-copy sftp-back\\n' >batch; ours -s "sftp -qb batch" "$0" >/dev/null
       rsync -a -e "$2" tree/ "$0.0:rsync-copy/"; rsync -a -e "$2" "$USER@$0.0:rsync-copy/" rsync-back
       for way in scp sftp rsync; do diff -r tree $way-back; done`,
      cluster,
      place,
      OURS,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    await there(["rm", "-rf", place]);
  });

  test("on a terminal there is a shell, with the client's TERM, in the terminal's size, whatever that becomes", async () => {
    const steps: Step[] = [
      { send: "echo in $TERM; tty; stty size\r" },
      { expect: "in vt220\\s+/dev/pts/\\d+\\s+30 90" },
      { resize: [50, 132] },
      { pause: 0.2 },
      { send: "stty size\r" },
      { expect: "50 132" },
      { send: "exit 4\r" },
    ];
    const argv = [OURS, job(image).cluster];
    const { stdout } = await runThere(["env", "TERM=vt220", ...driverWords(argv, steps)]);
    expect(JSON.parse(stdout)).toMatchObject({ missing: null, code: 4 });
  });

  test("a terminal is there by -tt for a command, and none for a shell that is fed; what the client sends comes along", async () => {
    const text = `TERM=vt220 ours -ssh "ssh -tt" "$0" 'tty; echo $TERM; exit 3' </dev/null; echo $?
      echo 'tty; echo fed; exit 6' | ours -ssh "ssh -T" "$0"; echo $?
      A='two  words' ours "$0" -o SendEnv=A 'echo "$A"; [ "$SSH_CONNECTION" ] && kill -0 \${_CONDOR_JOB_PIDS%% *} && echo both'`;
    const { stdout, stderr } = await script(text, job(image).cluster);
    const [terminal, ...others] = stdout.replaceAll("\r", "").trim().split("\n");
    expect(terminal).toMatch(/^\/dev\/pts\/\d+$/);
    expect({ others, stderr }).toEqual({
      others: ["vt220", "3", "not a tty", "fed", "6", "two  words", "both"],
      stderr: expect.stringMatching(/^(?:Connection to .* closed\.\s*)?$/) as string,
    });
  });

  test("forwards end on the container's own network", async () => {
    const { cluster } = job(image);
    const [node] = JSON.parse(await there(["gangway", "hosts", `${cluster}.0`, "--json"])) as { port: number }[];
    // Of the container's sshd, which answers at no address of this host's.
    const { stdout } = await script(`ours -ssh "ssh -W localhost:$1" "$0" </dev/null`, cluster, String(node?.port));
    expect(stdout).toMatch(/^SSH-2\.0-OpenSSH/);
  });

  test("the exit statuses of all kinds of ends", async () => {
    const text = Object.keys(ENDS).map((end) => `ours "$0" '${end}' 2>/dev/null; echo $?`);
    const { stdout } = await script(text.join("\n"), job(image).cluster);
    expect(stdout.trim().split("\n").map(Number)).toEqual(Object.values(ENDS));
  });

  test("a client that is killed takes its command with it, without a terminal, too", async () => {
    const { cluster } = job(image);
    const client = runThere(["sh", "-c", `exec "${OURS}" "$0" 'exec sleep 4712'`, cluster]);
    const seen = async () => (await ours([cluster, "pgrep -f '^sleep 4712$'"])).stdout.trim();
    await eventually("it runs", 30, async () => (await seen()) !== "");
    for (const pid of await pidsOf("exec sleep 4712")) process.kill(pid, "SIGKILL");
    await client;
    await eventually("it has ended", 30, async () => (await seen()) === "");
  });
});

/** Commands and their exit statuses. */
const ENDS = {
  "exit 0": 0,
  "exit 1": 1,
  "/etc/hostname": 126,
  "/no/such": 127,
  "kill -9 $$": 137,
  "exit 255": 255,
} as const;

/** The user's processes on this machine with these words in their command lines. */
async function pidsOf(words: string): Promise<number[]> {
  const { stdout } = await run(["pgrep", "-u", String(USER.uid), "-f", words]);
  return stdout.trim().split("\n").map(Number);
}

describe("sessions", () => {
  test("twenty at once, each with its own input and output", async () => {
    const numbers = Array.from({ length: 20 }, (_, index) => String(index + 1));
    const text = `for i; do echo "in-$i" | ours "$0" "cat; sleep 1; echo $i" & done; wait`;
    const { stdout, stderr } = await script(text, job("bare").cluster, ...numbers);
    expect(stderr).toBe("");
    const expected = [...numbers, ...numbers.map((number) => `in-${number}`)];
    expect(stdout.trim().split("\n").toSorted()).toEqual(expected.toSorted());
  });

  test("a client that is killed takes its command with it, and leaves no file", async () => {
    const { cluster } = job("debian");
    const client = runThere([
      "sh",
      "-c",
      `exec "${OURS}" -ssh "ssh -tt" "$0" 'echo here >left; exec sleep 4711'`,
      cluster,
    ]);
    const seen = async () => (await ours([cluster, "pgrep -f '^sleep 4711$'"])).stdout.trim();
    await eventually("it runs", 30, async () => (await seen()) !== "");
    for (const pid of await pidsOf("exec sleep 4711")) process.kill(pid, "SIGKILL");
    await client;
    await eventually("it has ended", 30, async () => (await seen()) === "");
    expect(await there(["sh", "-c", 'find "$0" -name ".session-*"', runBase()])).toBe("");
  });

  test("the first of -shells that is in the container", async () => {
    const shells = "/bin/no-such,/bin/dash,/bin/bash";
    expect(await ours(["-shells", shells, job("debian").cluster, "echo $0 $SHELL"])).toMatchObject({
      stdout: "dash /bin/dash\n",
    });
    expect(await ours(["-sh", shells, job("scratch").cluster, "echo still"])).toMatchObject({ stdout: "still\n" });
  });

  test("options of ssh's stand behind the job, too; -debug tells on stderr alone", async () => {
    expect(await ours(["-debug", job("bare").cluster, "-T", "-o", "SetEnv=FROM=client", "echo $FROM"])).toMatchObject({
      code: 0,
      stdout: "client\n",
      stderr: expect.stringContaining("debug1:") as string,
    });
  });

  test("the client's agent comes along, where it is asked for", async () => {
    const text = `ssh-keygen -q -t ed25519 -N '' -C mine -f key; ssh-add -q key; rm key key.pub
      "$1" -ssh "ssh -A" "$0" 'ssh-add -l; ls $SSH_AUTH_SOCK'; "$1" "$0" 'ssh-add -l 2>&1'`;
    const { stdout } = await runThere(["ssh-agent", "sh", "-c", text, job("scratch").cluster, OURS]);
    expect(stdout).toMatch(
      /^256 SHA256:\S+ mine \(ED25519\)\n\/run\/gangway\/\S+\nCould not open a connection to your authentication agent\.\n$/,
    );
  });

  test("gangway ssh runs the same clients, and is rsync's", async () => {
    const { cluster } = job("scratch");
    const text = `set -e; cd "$1"; echo content >file; gangway ssh --ssh scp "$0.0" file remote:by-gangway
      rsync -a -e 'gangway ssh' "$0.0:by-gangway" back; rsync -a -e 'gangway ssh' "$USER@$0.0:by-gangway" again
      gangway ssh --ssh 'sftp -q' --connect socket "$0" remote:by-gangway third; cat back again third
      gangway ssh --ssh sftp -l eve "$0" || echo $?; gangway ssh --ssh rsync "$0" || echo $?`;
    const place = join(USER.home, "gangway-spelling-ssh");
    await there(["mkdir", "-p", place]);
    const { stdout, stderr } = await script(text, cluster, place);
    expect(stdout).toMatch(/^(?:Fetching .*\n)?content\ncontent\ncontent\n64\n64\n$/);
    expect(stderr).toContain("only its own user");
    expect(stderr).toContain("rsync -av -e 'gangway ssh' JOB:out/ .");
    await there(["rm", "-rf", place]);
  });
});

const firstLine = ({ stderr }: RunResult) => stderr.split("\n")[0];

describe("side by side: into a container by ours, into a job without one by HTCondor's own", () => {
  test.each([
    'pwd; echo "$_CONDOR_SCRATCH_DIR"; [ "$PWD" = "$_CONDOR_SCRATCH_DIR" ] && echo there',
    "echo made >new; mv new moved; cat moved; rm moved; exit 7",
    "/no/such 2>/dev/null",
    "cat; echo aside >&2; exit 1",
  ])("%s", async (command) => {
    const seen = async (program: typeof ours, { cluster }: CondorJob) => {
      const { code, stdout, stderr } = await program([cluster, command]);
      // Each job has a directory of its own.
      const text = stdout.replaceAll(/\/dir_\d+/g, "/DIRECTORY");
      return { code, text, stderr };
    };
    const expected = await seen(theirs, plain);
    expect(expected.code).toBeLessThan(128);
    const all = [...jobs.values()];
    expect(await Promise.all(all.map(async (each) => await seen(ours, each)))).toEqual(all.map(() => expected));
  });

  test("a program that lists what lies there, and scp, which theirs cannot do in this version", async () => {
    const place = join(USER.home, "gangway-side-by-side");
    const text = `set -e; mkdir -p "$2"; cd "$2"; echo content >local
      "$1" "$0.0" /bin/ls >/dev/null; "$1" -ssh "scp -q" "$0" local remote:sandbox_copy
      "$1" -ssh "scp -q" "$0" remote:sandbox_copy local_copy; "$1" "$0" cat sandbox_copy; cat local_copy; rm local_copy`;
    const row = async (program: string, { cluster }: CondorJob) =>
      await runThere(["sh", "-c", text, cluster, program, place]);
    expect(await row(OURS, job("bare"))).toMatchObject({ code: 0, stdout: "content\ncontent\n", stderr: "" });
    // From 10.5 to 23.10.18 it tells scp, too, to use no control master: `-S none`, which is a program's name there.
    const { code, stderr } = await row("condor_ssh_to_job", plain);
    expect({ done: code === 0, said: stderr.includes("none: No such file") }).toEqual({ done: false, said: true });
    await there(["rm", "-rf", place]);
  });
});

describe("what cannot be", () => {
  test("the help stands on the standard error, as HTCondor's, and is no error", async () => {
    for (const program of [ours, theirs])
      expect(await program(["-h"])).toMatchObject({
        code: 0,
        stdout: "",
        stderr: expect.stringContaining("-auto-retry") as string,
      });
  });

  test.each<string[]>([[], ["x.y"], ["-foo", "1"], ["-ssh"], ["-auto-retry"], ["999999"]])(
    "is said in HTCondor's words, with its status: %s",
    async (...words) => {
      const [own, other] = [await ours(words), await theirs(words)];
      expect({ code: own.code, said: firstLine(own) }).toEqual({ code: other.code, said: firstLine(other) });
    },
  );

  test("a held job, with the reason, and it is not waited for", async () => {
    const [own, other] = [await ours(["-auto-retry", held.cluster]), await theirs(["-auto-retry", held.cluster])];
    expect(firstLine(own)).toMatch(/^The job is on hold: "/);
    expect({ code: own.code, said: firstLine(own) }).toEqual({ code: other.code, said: firstLine(other) });
  });

  test("an idle job, and that it can be waited for", async () => {
    const { code, stderr } = await ours([idle.cluster]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `Job ${idle.cluster}.0 is not running.\n(Use -auto-retry to keep trying periodically.)\n`,
    });
  });

  test("somebody else's job", async () => {
    const { code, stderr } = await runThere([OURS, job("bare").cluster], { user: OTHER });
    expect(code).toBe(1);
    expect(stderr).toMatch(/is not authorized for access to job|only they can enter it/);
  });

  test("a job that Gangway did not start", async () => {
    const { code, stderr } = await ours([plain.cluster]);
    expect(code).toBe(1);
    expect(stderr).toContain("Gangway has no container of it here");
  });
});

describe("a job's life", () => {
  test("-auto-retry waits for its start; -remove-on-interrupt ends it; what has left the queue is said", async () => {
    const late = await submit("bare");
    const text = `"$1" -a -rem "$0" 'echo in; exec sleep 300' & client=$!
      for i in $(seq 300); do sleep 0.1; ours "$0" "pgrep -f '^sleep 300'" >/dev/null 2>&1 && break; done
      sleep 1; kill -TERM $client; wait $client; echo $?; condor_q "$0" -af JobStatus`;
    const { stdout, stderr } = await script(text, late.cluster, OURS);
    expect(stderr).toContain(`Interrupted by signal 15 (SIGTERM), removing job ${late.cluster}.0...`);
    expect(stdout).toMatch(/^in\n[\s\S]*\n1\n(?:3\n)?$/);
    await eventually("it has left the queue", 60, async () => (await late.attribute("JobStatus")) === "");
    const gone = /^(?:Unable to fetch job ad; is it still in the queue\?|job \S+ has ended: )/;
    await eventually("that is said", 30, async () => gone.test((await ours([late.cluster])).stderr));
    await late.remove();
  });

  test("a suspended job: why nothing answers", async () => {
    const { cluster } = job("bare");
    await there(["condor_suspend", cluster]);
    await eventually("it is suspended", 60, async () => (await job("bare").attribute("JobStatus")) === "7");
    const { code, stderr } = await ours(["-ssh", "ssh -o ConnectTimeout=3", cluster, "true"]);
    expect({ code, said: stderr.includes(`Job ${cluster}.0 is suspended`) }).toEqual({ code: 255, said: true });
    await there(["condor_continue", cluster]);
  });

  test("the jobs go on, and end as if nobody had been there", async () => {
    // Each finds the file where a session has put it: they are in one place.
    for (const each of jobs.values()) await ours([each.cluster, "echo told to >new; mv new go"]);
    for (const each of jobs.values()) {
      expect(await each.exitCode()).toBe(5);
      expect(each.read("out")).toBe("told to\n");
    }
    const { cluster } = job("debian");
    await eventually("it has left the queue", 30, async () => (await job("debian").attribute("JobStatus")) === "");
    const [own, other] = [await ours([cluster]), await theirs([cluster])];
    expect({ code: own.code, said: firstLine(own) }).toEqual({ code: other.code, said: firstLine(other) });
  });
});
