import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, IMAGES, MANY, USER } from "../job/harness.ts";
import { inPart } from "../whole.ts";
import { asRoot, runOn } from "./cluster.ts";
import {
  containersOn,
  directoriesOn,
  ended,
  fieldOf,
  HOST_DOCKER,
  HOST_PODMAN,
  initsOn,
  installExamples,
  loadInto,
  nothingLeftOn,
  outputOf,
  processesOn,
  sbatch,
} from "./slurm.ts";

// examples/slurm, installed as an administrator would, under a real slurmd.

/** Pids of the host's launchers (of one job) and watchdogs. */
function pidsOf(pattern: RegExp): number[] {
  return processesOn("n1").flatMap((line) => (pattern.test(line) ? [Number.parseInt(line, 10)] : []));
}

const MISUNDERSTOOD: readonly (readonly [directive: string, reason: string])[] = [
  ["gangway:", "names no image: image=NAME is missing"],
  ["gangway: volume=/etc:/x", "names no image: image=NAME is missing"],
  ["gangway: image=a image=b", "names two images"],
  [`gangway: image=${IMAGES.bare} --user=root`, 'has the word "--user=root", which is none of'],
  ["gangway: app", 'has the word "app", which is none of'],
  ["gangway: image= ", 'has the word "image=", which is none of'],
];

describe.each([HOST_DOCKER, HOST_PODMAN])("prolog and epilog with $name", (engine) => {
  let uninstall = async (): Promise<void> => undefined;
  const whateverTheEngine = <T>(rows: readonly T[]) => inPart(rows, () => engine === HOST_DOCKER);

  beforeAll(async () => {
    loadInto(engine, "n1", "debian", "bare");
    uninstall = await installExamples(engine);
  });
  afterAll(async () => await uninstall());

  const submit = async (script: string, words: readonly string[] = []) =>
    await sbatch(script, { host: "n1", engine, words });
  const directive = (text: string) => [`--comment=${text}`];

  describe("a directive", () => {
    test("starts the job's containers before its script, which enters them", async () => {
      const script =
        "echo $GANGWAY_JOB_ID; gangway shell $GANGWAY_JOB_ID -- sh -c 'grep ^ID= /etc/os-release; ls /data; exit 7'";
      const job = await submit(script, directive(`gangway: image=${IMAGES.debian} volume=/etc/slurm:/data:ro`));
      expect(await ended(job)).toEqual({ state: "FAILED", exit: "7:0" });
      const output = outputOf(job, "n1");
      expect(output).toMatch(new RegExp(`^${job}\nID=debian\n`));
      expect(output).toContain("slurm.conf\n");
      await nothingLeftOn(engine, "n1");
      expect(asRoot("n1", ["ls", "/run/gangway-slurm"])).toBe("");
    });

    test.each(whateverTheEngine(["needs nothing of the image"]))("%s", async () => {
      const job = await submit(
        "gangway shell $GANGWAY_JOB_ID -- echo entered",
        directive(`gangway: image=${IMAGES.bare}`),
      );
      expect(await ended(job)).toEqual({ state: "COMPLETED", exit: "0:0" });
      expect(outputOf(job, "n1")).toBe("entered\n");
      await nothingLeftOn(engine, "n1");
    });

    test.each(whateverTheEngine(["holds for the batch script, not for the job's steps"]))("%s", async () => {
      const job = await submit("srun -n1 true; gangway ps -q", directive(`gangway: image=${IMAGES.bare}`));
      expect(await ended(job)).toEqual({ state: "COMPLETED", exit: "0:0" });
      // One launch, and it outlived the step.
      expect(outputOf(job, "n1")).toBe(`${job}\n`);
    });

    test.each(inPart(MISUNDERSTOOD, (_, index) => engine === HOST_DOCKER || index === 0))(
      "that cannot be understood fails the job with the reason: %s",
      async (text, reason) => {
        const job = await submit("echo the script runs", directive(text));
        expect(await ended(job)).toEqual({ state: "FAILED", exit: "1:0" });
        const output = outputOf(job, "n1");
        expect(output).toContain(`gangway: the directive "${text.trimEnd()}`);
        expect(output).toContain(reason);
        expect(output).not.toContain("the script runs");
      },
    );

    test("that cannot be followed fails the job with gangway's own words", async () => {
      const words = ["--export=ALL,GANGWAY_PULL=never", ...directive("gangway: image=gangway-test/none")];
      const job = await submit("echo the script runs", words);
      expect(await ended(job)).toEqual({ state: "FAILED", exit: "1:0" });
      expect(outputOf(job, "n1")).toMatch(/^gangway: .*gangway-test\/none.*\n/);
      expect(outputOf(job, "n1")).not.toContain("the script runs");
      await nothingLeftOn(engine, "n1");
    });

    test("is never evaluated", async () => {
      // What a shell would take for a command and its argument, although it is one word.
      const touch = ["touch$", "{IFS}/tmp/evil"].join("");
      const all = [`$(${touch})`, `\`${touch}\``, `;${touch}`, "*", "'\"\\"];
      const traps = inPart(all, (_, index) => engine === HOST_DOCKER || index === 0);
      const texts = traps.flatMap((trap) => [
        `gangway: image=${trap}`,
        `gangway: image=${IMAGES.bare} ${trap}`,
        `gangway:${trap}`,
      ]);
      const words = ["--export=ALL,GANGWAY_PULL=never"];
      const jobs = await Promise.all(texts.map((text) => submit("echo it runs", [...words, ...directive(text)])));
      for (const job of jobs) expect(await ended(job)).toEqual({ state: "FAILED", exit: "1:0" });
      expect(asRoot("n1", ["find", "/tmp", "/run/gangway-slurm", "-name", "evil*"])).toBe("");
      await nothingLeftOn(engine, "n1");
    });

    test.each(whateverTheEngine(["is none where the comment says something else"]))("%s", async () => {
      const texts = ["gangwayimage=x", "see gangway: image=x", ""];
      const script = "gangway ps -q; echo the script runs";
      for (const job of await Promise.all(texts.map((text) => submit(script, directive(text))))) {
        expect(await ended(job)).toEqual({ state: "COMPLETED", exit: "0:0" });
        expect(outputOf(job, "n1")).toBe("the script runs\n");
      }
    });
  });

  describe("the epilog", () => {
    test("what the script left running ends with it, whatever its name", async () => {
      const run = `gangway run -d -o /dev/shm/odd -i ${IMAGES.bare}`;
      const job = await submit(`${run} --name odd -- probe sleep 600 && ${run} -- probe sleep 600`);
      expect(await ended(job)).toEqual({ state: "COMPLETED", exit: "0:0" });
      await nothingLeftOn(engine, "n1");
    });

    test("clears what is left where launcher and watchdog were killed and init cannot notice", async () => {
      const jobs = `${USER.home}/.gangway/ssh/jobs`;
      const { stdout: made } = await runOn("n1", [
        "sh",
        "-c",
        `[ -d ${jobs} ] || { mkdir -p -m 700 ${jobs}; echo made; }`,
      ]);
      const job = await submit(`gangway run -i ${IMAGES.debian} -- sleep 600`);
      const index = async () => (await runOn("n1", ["ls", jobs])).stdout.split("\n").filter((name) => name !== "");
      await eventually("the job's command", 60, async () => {
        const { stdout } = await runOn("n1", ["env", ...envOf(engine.env), "gangway", "ps"]);
        return stdout.includes(" running ") && (await index()).includes(`${job}.conf`);
      });
      // From outside: a process that is PID 1 to itself takes no STOP from within.
      for (const pid of initsOn(engine, "n1")) process.kill(pid, "SIGSTOP");
      for (const pid of pidsOf(/libexec\/watchdog/)) process.kill(pid, "SIGKILL");
      for (const pid of pidsOf(/gangway run/)) process.kill(pid, "SIGKILL");
      expect((await ended(job)).state).toBe("FAILED");
      await nothingLeftOn(engine, "n1");
      expect(await index()).not.toContain(`${job}.conf`);
      expect(await index()).not.toContain(`${job}.hosts`);
      if (made !== "") await runOn("n1", ["rmdir", jobs, `${USER.home}/.gangway/ssh`, `${USER.home}/.gangway`]);
    });

    test("another job of the same user on the same node goes on", async () => {
      const run = `gangway run -i ${IMAGES.bare} -- probe sleep 600`;
      const live = await submit(run);
      const short = await submit(`gangway run -d -o /dev/shm/odd -i ${IMAGES.bare} -- probe sleep 600; sleep 2`);
      expect((await ended(short)).state).toBe("COMPLETED");
      await eventually("the short one is gone", 20, () => directoriesOn("n1").length === 1);
      expect(fieldOf(live, "JobState")).toBe("RUNNING");
      expect(containersOn(engine, "n1")).toEqual([expect.stringContaining(live)]);
      asRoot("ctl", ["scancel", live]);
      expect((await ended(live)).state).toBe("CANCELLED");
      await nothingLeftOn(engine, "n1");
    });
  });
});

describe("the prolog", () => {
  let uninstall = async (): Promise<void> => undefined;
  beforeAll(async () => {
    uninstall = await installExamples(HOST_DOCKER);
  });
  afterAll(async () => await uninstall());

  test("makes the user's directory in memory where there is none, for that user alone", async () => {
    const directory = `/run/user/${MANY.uid}`;
    const remove = () => asRoot("n1", ["sh", "-c", 'umount "$0" 2>/dev/null; rm -rf "$0"', directory]);
    remove();
    const script = `stat -c '%U %a' ${directory}; findmnt -n -o FSTYPE,OPTIONS ${directory}`;
    const job = await sbatch(script, {
      host: "n1",
      user: MANY.name,
    });
    expect((await ended(job)).state).toBe("COMPLETED");
    // A file system of its own, with a limit: it is not the machine's /run that the user fills.
    expect(outputOf(job, "n1")).toMatch(new RegExp(`^${MANY.name} 700\\ntmpfs +rw,nosuid,nodev,.*size=`));
    remove();
  });
});

function envOf(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}
