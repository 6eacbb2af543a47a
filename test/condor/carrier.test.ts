import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, OTHER } from "../job/harness.ts";
import { driverWords, SIZES, type Step } from "../job/terminal.ts";
import { commandRuns, FAR_END, killAll, processesOn, SILENCE } from "./carried.ts";
import { asRoot, CondorJob, condorUp, runBase, runThere } from "./condor.ts";

/* The pool is one machine, so that this way is not the best here: it is asked for by its name. */

const BY_CONDOR = ["gangway", "ssh", "--connect", "condor"];
const MIB = 2 ** 20;

let job: CondorJob;
let other: CondorJob;

const enter = async (...words: string[]) => await runThere([...BY_CONDOR, ...words]);

/** Processes and directories of a carrier, condor_ssh_to_job's own private directory among them. */
function left(): string {
  const processes = "pgrep -a -f 'gangway ssh --connect|[.]via[.]condor' || :";
  const files = `find ${runBase()} /tmp /var/tmp -name '.session*' -o -name '*condor_ssh_to_job*' || :`;
  const inJobs = processesOn("first", `${FAR_END}|^sleep 4321`);
  return [...inJobs, ...asRoot(["sh", "-c", `${processes}; ${files}`]).split("\n")]
    .filter((line) => line !== "" && !line.includes("pgrep"))
    .join("\n");
}

async function nothingLeft(): Promise<void> {
  let found = "";
  await eventually("nothing of a carrier is left", 40, () => {
    found = left();
    return found === "";
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${found}`);
  });
}

beforeAll(async () => {
  condorUp();
  const words = ["executable = wrapper", `arguments = "${IMAGES.debian} sleep 900"`];
  job = await CondorJob.submit(words);
  other = await CondorJob.submit([...words, "hold = True"]);
  await job.running();
});

afterAll(async () => {
  await job.remove();
  await other.remove();
});

describe("a session by condor_ssh_to_job", () => {
  test("in the job's container, with the command's status, and not a word of HTCondor's", async () => {
    const { code, stdout, stderr } = await enter(
      "--auto-retry",
      "-q",
      `${job.cluster}.0`,
      "cat /etc/debian_version; exit 7",
    );
    // HTCondor may not be so far yet.
    const waiting = /^gangway: waiting: job \d+\.0 cannot be entered by condor_ssh_to_job yet\n$/;
    expect({ code, stderr: stderr.replace(waiting, "") }).toEqual({ code: 7, stderr: "" });
    expect(stdout).toMatch(/^12\./);
    expect(await enter(job.cluster, "printenv GANGWAY_JOB_ID")).toMatchObject({
      code: 0,
      stdout: `${job.cluster}.0\n`,
    });
    await nothingLeft();
  });

  test("a terminal with its size, and its changes", async () => {
    const argv = [...BY_CONDOR, "-t", job.cluster, SIZES];
    const steps: Step[] = [{ expect: "^30 90$" }, { resize: [50, 132] }, { expect: "^50 132$" }, { send: "\u0003" }];
    const { stdout } = await runThere(["env", "TERM=xterm", ...driverWords(argv, steps)]);
    expect(JSON.parse(stdout)).toMatchObject({ missing: null, code: 130 });
  });

  test("bytes go both ways, whole; files by sftp and rsync", async () => {
    const data = randomBytes(4 * MIB);
    const sum = createHash("sha256").update(data).digest("hex");
    const echo = await runThere([...BY_CONDOR, job.cluster, "cat"], { input: data });
    expect(createHash("sha256").update(echo.bytes).digest("hex")).toBe(sum);
    const script = [
      "cat >/tmp/carried.data",
      `rsync -e 'gangway ssh --connect condor' /tmp/carried.data ${job.cluster}.0:/tmp/carried.rsync`,
      `echo 'put /tmp/carried.data /tmp/carried.sftp' | gangway ssh --connect condor --ssh 'sftp -q -b -' ${job.cluster}`,
      "rm /tmp/carried.data",
    ];
    expect(await runThere(["sh", "-e", "-c", script.join("\n")], { input: data })).toMatchObject({
      code: 0,
      stderr: "",
    });
    const sums = await enter(job.cluster, "sha256sum </tmp/carried.rsync; sha256sum </tmp/carried.sftp");
    expect(sums.stdout).toBe(`${sum}  -\n`.repeat(2));
    await nothingLeft();
  });

  const victims = {
    "gangway here": "^\\S*node .*gangway ssh --connect",
    "its ssh": "^\\S*/ssh .*via[.]condor",
    "the tool's own ssh": "^ssh -F none",
    "the far end": FAR_END,
  } as const;

  test.each(Object.entries(victims))(
    "%s killed while a command runs: nothing is left, the tool's key neither",
    async (_name, pattern) => {
      const running = runThere([
        "env",
        `GANGWAY_NODE_SILENCE=${SILENCE}`,
        ...BY_CONDOR,
        job.cluster,
        "echo up >/tmp/up; exec sleep 4321",
      ]);
      await commandRuns("sleep 4321", running);
      killAll("first", pattern, { inJobs: pattern === FAR_END });
      expect((await running).code).not.toBe(0);
      await nothingLeft();
    },
  );

  test("held, unknown, somebody else's: each its message and status", async () => {
    const held = await enter(`${other.cluster}.0`, "true");
    expect(held.stderr).toContain("on hold");
    expect(held.code).toBe(76);
    const unknown = await enter("99999.0", "true");
    expect(unknown.stderr).toContain('HTCondor knows no job "99999.0"');
    expect(unknown.code).toBe(68);
    const foreign = await runThere([...BY_CONDOR, job.cluster, "true"], { user: OTHER });
    expect(foreign.stderr).toContain("not authorized");
    expect(foreign.code).toBe(77);
  });
});
