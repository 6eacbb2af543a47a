// Jobs in containers that Apptainer starts, with our init as their program (docs/user.md, "Apptainer"): real Apptainer, without
// any privilege, on the machine that is HTCondor's as well.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, INSTALL, OTHER, USER } from "../job/harness.ts";
import { AttachedJob, INIT, makeImages } from "./apptainer.ts";
import { asRoot, CondorJob, condorUp, nothingLeft, runBase, runThere, there, withAttachedApptainer } from "./condor.ts";

let images: ReturnType<typeof makeImages>;

beforeAll(() => {
  condorUp();
  images = makeImages();
});

const attach = async (words: readonly string[], ...command: readonly string[]) =>
  await runThere(["gangway", "attach-runtime", ...words, INIT, "--", ...command]);

const NAMESPACES = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done";
/** What a session has besides, and a shell by itself. */
const OF_A_SESSION = /^(SSH_\w+|_CONDOR_JOB_PIDS|_|SHLVL|OLDPWD|PWD)=/;

const sorted = (environment: string) =>
  environment
    .split("\n")
    .filter((line) => line !== "" && !OF_A_SESSION.test(line))
    .sort();

describe("a command in a container of Apptainer's", () => {
  const run = async (...command: readonly string[]) =>
    await attach(["--", "apptainer", "-q", "exec", images.linux], ...command);

  it("has the launcher's own input and output, and its exit status is the launcher's", async () => {
    const line = ["gangway", "attach-runtime", "--", "apptainer", "-q", "exec", images.linux, INIT, "--"];
    const result = await runThere([...line, "sh", "-c", "tr a-z A-Z; echo aside >&2; exit 7"], { input: "words" });
    expect(result).toMatchObject({ code: 7, stdout: "WORDS", stderr: "aside\n" });
  });

  it("that dies by a signal ends as 128+n; one that is not there is told of", async () => {
    expect((await run("sh", "-c", "kill -KILL $$")).code).toBe(137);
    const missing = await run("nowhere");
    expect(missing.code).toBe(127);
    expect(missing.stderr).toContain("nowhere: not found in PATH");
  });

  it("finds our ssh and rsync in its PATH, and the job's facts", async () => {
    const { stdout } = await run("sh", "-c", "which ssh rsync; echo $GANGWAY_JOB_ID; cat /var/hostsfile");
    expect(stdout).toMatch(/^\/opt\/udiImage\/bin\/ssh\n\/opt\/udiImage\/tools\/rsync\n[a-z0-9]{6}\nnode1\n/);
  });

  it("dumps core as it would without Gangway, whose own processes keep their memory out of theirs", async () => {
    const filter = "/proc/self/coredump_filter";
    expect((await run("cat", filter)).stdout.trim()).toBe(await there(["cat", filter]));
  });

  it("keeps the user's own binds, and has places in PATH of the user's choice", async () => {
    const env = ["env", "APPTAINER_BIND=/usr/share:/mine", "APPTAINERENV_PREPEND_PATH=/first"];
    const line = ["--", "apptainer", "exec", images.linux, INIT, "--", "sh", "-c", "echo $PATH; ls -d /mine/doc"];
    const { stdout, stderr } = await runThere([...env, "gangway", "attach-runtime", ...line]);
    expect(stdout).toMatch(/^\/opt\/udiImage\/bin:\/first:.*:\/opt\/udiImage\/tools\n\/mine\/doc\n$/);
    // Apptainer complains where its variables and SingularityCE's differ.
    expect(stderr).not.toContain("SINGULARITY");
  });

  it("of an image that is not there is not started: what the runtime said stands there, and what to do", async () => {
    const result = await attach(["--", "apptainer", "exec", "/nowhere.sif"], "true");
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(/FATAL: .*\/nowhere\.sif[\s\S]*the runtime apptainer ended with status 255 before/);
  });

  it("runs out of an image file with nothing in it, sessions and all, with accounts of ours", async () => {
    const words = ["--accounts", "--", "apptainer", "-q", "exec", "--unsquash", images.nothing];
    const { code, stdout } = await attach(words, "sh", "-c", "id -un; ssh node1 'id -un; exit 3'");
    expect({ code, stdout }).toEqual({ code: 3, stdout: `${USER.name}\n${USER.name}\n` });
  });

  it("hops between several containers by their names", async () => {
    const hop = "ssh node2 'echo $GANGWAY_NODE; ssh node3 printenv GANGWAY_NODE; exit 4'";
    const { code, stdout } = await attach(["-N", "3", "--", "apptainer", "-q", "exec", images.linux], "sh", "-c", hop);
    expect({ code, stdout }).toEqual({ code: 4, stdout: "node2\nnode3\n" });
  });

  it("lives as well in a process namespace of Apptainer's, with a home and an environment of its own", async () => {
    const contained = ["--", "apptainer", "-q", "exec", "--containall", images.linux];
    const script = "readlink /proc/self/ns/pid; ssh node1 readlink /proc/self/ns/pid; ssh node1 printenv GANGWAY_NODE";
    const { stdout } = await attach(contained, "sh", "-c", script);
    const [command, session, name] = stdout.split("\n");
    expect(session).toBe(command);
    expect(session).not.toBe(asRoot(["readlink", "/proc/self/ns/pid"]).trim());
    expect(name).toBe("node1");
  });
});

describe("a session", () => {
  let job: AttachedJob;
  let kit = "";
  const facts = `${NAMESPACES}; pwd; id; umask; ulimit -a; grep -E "^(NoNewPrivs|Cap|Seccomp|Groups)" /proc/self/status`;

  beforeAll(async () => {
    job = new AttachedJob("apt", images.linux, `{ ${facts}; } >apt.facts; env >apt.env; echo ready >apt.ready`);
    await job.running();
    await eventually("the command has begun", 10, async () => (await runThere(["cat", "apt.ready"])).code === 0);
    kit = `${runBase()}/apt/kit/ssh_config`;
  });

  afterAll(async () => {
    await there(["sh", "-c", "rm -f apt.*; touch go-apt"]);
    expect((await job.ended).code).toBe(5);
    await nothingLeft();
  });

  it("is in the same instance, with its directory, ids, limits and environment", async () => {
    expect((await job.session(facts)).stdout).toBe(
      await there(["sh", "-c", "cat apt.facts; echo"]).then((t) => `${t}\n`),
    );
    expect(sorted((await job.session("env")).stdout)).toEqual(sorted(await there(["cat", "apt.env"])));
  });

  it("is not in the host's", async () => {
    const [user = ""] = (await job.session("readlink /proc/self/ns/user")).stdout.split("\n");
    expect(user).not.toBe(asRoot(["readlink", "/proc/self/ns/user"]).trim());
  });

  it("of a login shell has our programs, whatever the image's profile sets", async () => {
    const { stdout } = await runThere(["gangway", "ssh", "apt"], { input: "command -v ssh\n" });
    expect(stdout).toContain("/opt/udiImage/bin/ssh");
  });

  it("ends with its command's status, and carries what is written both ways", async () => {
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7) % 256));
    const result = await runThere(["gangway", "ssh", "apt", "cat; exit 9"], { input: bytes });
    expect(result.code).toBe(9);
    expect(result.bytes.equals(bytes)).toBe(true);
  });

  it("is had by the access kit with the machine's own ssh, sftp, scp and rsync", async () => {
    const copy = [
      "set -e",
      `ssh -F ${kit} apt.job hostname`,
      "echo by hand >apt.1",
      `scp -q -F ${kit} apt.1 apt.job:/tmp/apt.2`,
      `echo "get /tmp/apt.2 apt.3" | sftp -q -b - -F ${kit} apt.job >/dev/null`,
      `rsync -e "ssh -F ${kit}" apt.3 apt.job:apt.4`,
      "cat apt.4",
      `ssh -F ${kit} apt.job rm /tmp/apt.2`,
    ];
    expect(await there(["sh", "-c", copy.join("\n")])).toMatch(/\nby hand$/);
  });

  it("is found by `gangway shell`, examined by `gangway doctor`, and listed by `gangway ps`", async () => {
    expect(await there(["gangway", "shell", "apt", "--", "printenv", "GANGWAY_JOB_ID"])).toBe("apt");
    expect(await there(["gangway", "doctor", "apt"])).toContain("way socket  node1 answers");
    expect(await there(["gangway", "ps"])).toMatch(new RegExp(`^apt .* node1 +running .*${images.linux}`, "m"));
  });

  it("is no other user's: not by gangway, not by the port, not by the files", async () => {
    expect((await runThere(["gangway", "ssh", "apt", "id"], { user: OTHER })).code).not.toBe(0);
    expect((await runThere(["ls", `${runBase()}/apt`], { user: OTHER })).stderr).toContain("Permission denied");
    const ssh = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"];
    const nodes = JSON.parse(await there(["gangway", "hosts", "apt", "--json"])) as { port: number }[];
    const to = ["-o", "UserKnownHostsFile=/dev/null", "-p", String(nodes[0]?.port), `${USER.name}@127.0.0.1`, "id"];
    const refused = await runThere([...ssh, ...to], { user: OTHER });
    expect(refused).toMatchObject({ code: 255, stdout: "" });
  });
});

describe("the end", () => {
  const TRAPS = "trap 'echo got >end.got; exit 9' TERM; trap '' HUP INT; setsid sleep 4711 &\necho ready >end.ready";

  const begun = async () => {
    const job = new AttachedJob("end", images.linux, TRAPS);
    await job.running();
    await eventually("the command has begun", 10, async () => (await runThere(["cat", "end.ready"])).code === 0);
    return job;
  };
  const gone = async () => {
    await nothingLeft();
    const left = `pgrep -u ${USER.uid} -f '^sleep 4711|^/opt/udiImage/libexec/init --shared|^Apptainer runtime' || :`;
    await eventually("no process", 10, () => asRoot(["sh", "-c", left]).trim() === "");
    await there(["sh", "-c", "rm -f end.*"]);
  };

  it("a signal for the launcher is the command's, which ends as it will", async () => {
    const job = await begun();
    asRoot(["kill", "-TERM", job.launcher]);
    expect((await job.ended).code).toBe(9);
    expect(await there(["cat", "end.got"])).toBe("got");
    await gone();
  });

  it("by `gangway stop`, sessions too", async () => {
    const job = await begun();
    const session = job.session("sleep 4711");
    await eventually("the session", 10, async () => (await there(["gangway", "ps", "--sessions"])).includes("4711"));
    await there(["gangway", "stop", "end"]);
    expect((await job.ended).code).toBe(9);
    expect((await session).code).not.toBe(0);
    await gone();
  });

  it("of a launcher that is killed is the container's: no process, no key, no file is left", async () => {
    const job = await begun();
    asRoot(["kill", "-KILL", job.launcher]);
    await job.ended;
    await gone();
  });
});

describe("a job of HTCondor's container universe, its Apptainer being examples/htcondor/apptainer", () => {
  const WAIT = `readlink /proc/self/ns/mnt >instance; while [ ! -e go ]; do sleep 0.1; done; exit 6`;
  let undo: () => void;
  let job: CondorJob;

  beforeAll(async () => {
    undo = withAttachedApptainer();
    const image = ["universe = container", `container_image = ${images.linux}`, "transfer_container = false"];
    const command = ["executable = script", "transfer_executable = true"];
    job = await CondorJob.submit([...image, ...command], { files: { script: `#!/bin/sh\n${WAIT}\n` } });
    await job.running();
  });

  afterAll(async () => {
    await job.remove();
    undo();
    await nothingLeft();
  });

  it("is entered by HTCondor's id: the same instance, in its directory", async () => {
    const id = `${job.cluster}.0`;
    const script = "cat instance; readlink /proc/self/ns/mnt; printenv GANGWAY_JOB_ID _CONDOR_SCRATCH_DIR; pwd";
    const { stdout } = await runThere(["gangway", "ssh", id, script]);
    const [command, session, name, scratch, directory] = stdout.split("\n");
    expect([session, name, directory]).toEqual([command, id, scratch]);
    const spelled = join(INSTALL, "lib/gangway/condor/condor_ssh_to_job");
    const inside = "/bin/echo hello_from_container; readlink /proc/self/ns/mnt; exit 7";
    expect(await runThere([spelled, job.cluster, inside])).toMatchObject({
      code: 7,
      stdout: `hello_from_container\n${command}\n`,
    });
    expect(session).not.toBe(asRoot(["readlink", "/proc/self/ns/mnt"]).trim());
  });

  it("ends as its command does", async () => {
    job.release();
    expect(await job.exitCode()).toBe(6);
  });

  it("is ended by condor_rm, and nothing is left", async () => {
    const image = ["universe = container", `container_image = ${images.linux}`, "transfer_container = false"];
    const command = ["executable = /bin/sleep", "transfer_executable = false", "arguments = 4711"];
    const other = await CondorJob.submit([...image, ...command]);
    await other.running();
    await other.remove();
    await nothingLeft();
  });
});

describe("a job of HTCondor's vanilla universe that calls attach-runtime itself", () => {
  it("has HTCondor's id, sessions, and its command's exit status", async () => {
    const line = `attach-runtime -- apptainer -q exec ${images.linux} ${INIT} -- sh -c 'while [ ! -e go ]; do sleep 0.1; done; exit 8'`;
    const program = ["executable = /usr/local/bin/gangway", "transfer_executable = false"];
    const job = await CondorJob.submit([
      ...program,
      `arguments = "${line}"`,
      "environment = PATH=/usr/local/bin:/usr/bin:/bin",
    ]);
    try {
      await job.running();
      await there(["gangway", "ssh", `${job.cluster}.0`, "true"]);
      job.release();
      expect(await job.exitCode()).toBe(8);
    } finally {
      await job.remove();
    }
    await nothingLeft();
  });
});
