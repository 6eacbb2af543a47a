import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { IMAGES, OTHER } from "../job/harness.ts";
import { inPart } from "../whole.ts";
import { CondorJob, condorUp, runThere, there, withSiteWrapper } from "./condor.ts";

beforeAll(condorUp);

/** Tells which container it runs in, then waits to be told to end. */
const TELL = "readlink /proc/self/ns/pid >instance; while [ ! -e go ]; do sleep 0.1; done; cat go; exit 5\n";
const INSTANCE = "readlink /proc/self/ns/pid";

describe("condor_ssh_to_job, then gangway shell", () => {
  const jobs: CondorJob[] = [];

  beforeAll(async () => {
    for (let i = 0; i < 2; i++) {
      const words = ["executable = wrapper", `arguments = "${IMAGES.debian} sh ./script"`];
      const files = { script: TELL };
      jobs.push(await CondorJob.submit([...words, "transfer_input_files = script"], { files }));
    }
    for (const job of jobs) await job.running();
  });

  afterAll(async () => {
    for (const job of jobs) await job.remove();
  });

  test("without a word it is that job's container, and no twin of it: the same instance, whatever else runs", async () => {
    const seen = new Set<string>();
    for (const job of jobs) {
      const script = `cat instance; gangway shell -- ${INSTANCE}; gangway shell -- printenv GANGWAY_JOB_ID; ${INSTANCE}`;
      const { stdout } = await job.ssh([script]);
      const [command = "", session = "", id = "", outside = ""] = stdout.trim().split("\n");
      expect(session).toBe(command);
      expect(id).toBe(`${job.cluster}.0`);
      expect(outside).not.toBe(session);
      seen.add(session);
    }
    expect(seen.size).toBe(2);
  });

  test("a file that is written there is the job's, and its exit status comes back", async () => {
    const [job] = jobs as [CondorJob];
    const { code } = await job.ssh(["gangway shell -- sh -c 'echo from a session >note; exit 9'"]);
    expect(code).toBe(9);
    expect((await job.ssh(["cat note"])).stdout).toBe("from a session\n");
  });

  test("from the machine the job is entered by HTCondor's id, or by its cluster alone", async () => {
    const [job] = jobs as [CondorJob];
    const command = (await job.ssh(["cat instance"])).stdout;
    for (const name of [`${job.cluster}.0`, job.cluster, `${job.cluster}.0.0`]) {
      expect(await runThere(["gangway", "ssh", name, `${INSTANCE}; exit 3`])).toMatchObject({
        code: 3,
        stdout: command,
      });
      expect(await runThere(["gangway", "shell", name, "--", "readlink", "/proc/self/ns/pid"])).toMatchObject({
        code: 0,
        stdout: command,
      });
    }
  });

  test("another job's container is never entered by mistake", async () => {
    const [, job] = jobs as [CondorJob, CondorJob];
    const script = `_CONDOR_JOB_AD=$PWD/other; sed 's/^ClusterId = .*/ClusterId = 99999/' .job.ad >other; export _CONDOR_JOB_AD; gangway shell -- true`;
    const { code, stderr } = await job.ssh([script]);
    expect(code).toBe(125);
    expect(stderr).toContain("HTCondor's job 99999.0, in which this is called, has no launch");
  });

  test("another user gets nowhere", async () => {
    const [job] = jobs as [CondorJob];
    const { code, stderr } = await runThere(["condor_ssh_to_job", job.cluster, "true"], { user: OTHER });
    expect(code).not.toBe(0);
    expect(stderr).toContain("not authorized");
  });

  test("the job goes on, and ends as if nobody had been there", async () => {
    const [job] = jobs as [CondorJob];
    await job.ssh(["gangway shell -- sh -c 'echo told to >new; mv new go'"]);
    expect(await job.exitCode()).toBe(5);
    expect(job.read("out")).toBe("told to\n");
  });
});

describe("a wrapper for all jobs of the pool (USER_JOB_WRAPPER)", () => {
  let undo = () => {};
  let job: CondorJob;
  const jobs: CondorJob[] = [];

  async function submit(script: string, ...lines: string[]): Promise<CondorJob> {
    const words = ["executable = script", "arguments = \"'a  b'\""];
    const submitted = await CondorJob.submit([...words, ...lines], { files: { script: `#!/bin/sh\n${script}` } });
    jobs.push(submitted);
    return submitted;
  }

  beforeAll(async () => {
    undo = withSiteWrapper();
    job = await submit(`echo "<$1>"; cat /etc/debian_version\n${TELL}`, `+GangwayImage = "${IMAGES.debian}"`);
    await job.running();
  });

  afterAll(async () => {
    for (const submitted of jobs) await submitted.remove();
    undo();
  });

  test("condor_ssh_to_job itself leads into the job's container, with the command's status", async () => {
    const { code, stdout } = await job.ssh([`cat instance; ${INSTANCE}; hostname; exit 9`]);
    const [command, session] = stdout.split("\n");
    expect(session).toBe(command);
    expect(code).toBe(9);
  });

  test("a session that HTCondor carries still gets to the machine, and from there into the container", async () => {
    const words = [
      "gangway",
      "ssh",
      "--connect",
      "condor",
      "--auto-retry",
      job.cluster,
      `cat instance; ${INSTANCE}; exit 9`,
    ];
    const { code, stdout } = await runThere(words);
    expect(new Set(stdout.trim().split("\n")).size).toBe(1);
    expect(code).toBe(9);
  });

  test("on a terminal it is a shell there", async () => {
    const type = `printf 'tty; ${INSTANCE} >from-terminal; exit 4\\n' | script -qec 'condor_ssh_to_job ${job.cluster}' /dev/null`;
    const { code, stdout } = await runThere(["sh", "-c", type]);
    expect(stdout).toContain("/dev/pts/");
    expect(code).toBe(4);
    const { stdout: instances } = await job.ssh(["cat instance from-terminal"]);
    expect(new Set(instances.trim().split("\n")).size).toBe(1);
  });

  test("files go there by rsync, and the job sees them", async () => {
    const data = "with  two blanks\n".repeat(100_000);
    await there(["sh", "-c", "cat >gangway-condor.data"], { input: data });
    await there(["rsync", "-e", "condor_ssh_to_job", "gangway-condor.data", `${job.cluster}.0:copied`]);
    expect((await job.ssh(["cat copied"])).stdout).toBe(data);
    await there(["rm", "gangway-condor.data"]);
  });

  test("the job itself is told nothing of all this", async () => {
    await job.ssh(["echo told to >new; mv new go"]);
    expect(await job.exitCode()).toBe(5);
    expect(job.read("out")).toBe("<a  b>\n12.15\ntold to\n".replace("12.15", job.read("out").split("\n")[1] ?? ""));
    expect(job.read("out").split("\n")[1]).toMatch(/^12\./);
  });

  test("a job that asks for no image runs as before, and so does a session of it", async () => {
    const plain = await submit('cat /etc/debian_version; while [ ! -e go ]; do sleep 0.1; done; echo "<$1>"\n');
    expect((await plain.ssh(["cat /etc/debian_version; exit 6"])).code).toBe(6);
    plain.release();
    expect(await plain.exitCode()).toBe(0);
    expect(plain.read("out")).toMatch(/^13.*\n<a {2}b>\n$/);
  });

  const wrong = ['"debian:12; id"', '"-v"', 'strcat("deb","ian")', '""'];

  test.each(inPart(wrong, (_, index) => index % 2 === 0))(
    "what is no image, %s, is refused with the reason in the job's stderr",
    async (image) => {
      const wrong = await submit("echo never\n", `+GangwayImage = ${image}`);
      expect(await wrong.exitCode()).toBe(125);
      expect(wrong.read("err")).toContain(`site-wrapper: GangwayImage = ${image}`);
      expect(wrong.read("out")).toBe("");
    },
  );
});
