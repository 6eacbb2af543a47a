import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { environmentOf, eventually, GANGWAY, gangway, IMAGES, inDirectory, run, USER } from "./harness.ts";
import { execute, launch, output } from "./launch.ts";

describe("root launches for an ordinary user", () => {
  test("everything is that user's: processes, files, run directory, output", async () => {
    await inDirectory(async (cwd) => {
      const env = { ...environmentOf({}), HOME: "/root", XDG_RUNTIME_DIR: "", USER: "root" };
      const base = `/dev/shm/gangway-${USER.uid}`;
      const words = ["run", "-d", "-u", USER.name, "-i", IMAGES.bare, "-N", "2", "--name", "for-user", "--"];
      const script = "id -u; id -G; touch made; while [ ! -e go ]; do sleep 0.1; done";
      const { stdout } = await execute(GANGWAY, [...words, "sh", "-c", script], { env, cwd });
      expect(stdout).toBe("for-user\n");
      const places = [`/run/user/${USER.uid}/gangway`, base].map((place) => join(place, "for-user"));
      const directory = places.find((place) => existsSync(place)) ?? "";
      const files = (await execute("find", [directory, "-printf", "%U %G %p\n"])).stdout.trim().split("\n");
      expect(files.length).toBeGreaterThan(20);
      expect(files.filter((line) => !line.startsWith(`${USER.uid} ${USER.gid} `))).toEqual([]);
      await eventually("a file", 10, () => existsSync(join(cwd, "made")));
      expect(statSync(join(cwd, "made"))).toMatchObject({ uid: USER.uid, gid: USER.gid });
      expect(statSync(join(cwd, "gangway-for-user.out"))).toMatchObject({ uid: USER.uid, gid: USER.gid });
      // The user goes in as into any job of theirs; so does root, who names the user.
      expect((await gangway(["shell", "for-user", "--", "id", "-u"])).stdout).toBe(`${USER.uid}\n`);
      const all = await execute(GANGWAY, ["ps"], { env, cwd });
      expect(all.stdout).toMatch(new RegExp(`^for-user +${USER.name} +node1,node2 +running`, "m"));
      writeFileSync(join(cwd, "go"), "");
      await execute(GANGWAY, ["wait", "-u", USER.name, "for-user"], { env, cwd });
      const lines = readFileSync(join(cwd, "gangway-for-user.out"), "utf8").split("\n");
      expect(lines[0]).toBe(String(USER.uid));
      expect(lines[1]?.split(" ").sort()).toEqual(
        (await execute("id", ["-G", USER.name])).stdout.trim().split(" ").sort(),
      );
      expect(existsSync(directory)).toBe(false);
    });
  });
});

describe("what a user asks for takes effect", () => {
  const read = async (flags: string[], ...files: string[]) =>
    (await output([...flags, "--", "sh", "-c", `cat ${files.join(" ")} 2>/dev/null`])).trim();
  const cgroup1 = existsSync("/sys/fs/cgroup/memory");

  test("--memory, with no swap beyond it", async () => {
    const [v1, v2] = ["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"];
    expect(await read(["--memory", "64m"], cgroup1 ? v1 : v2)).toBe(String(64 * 1024 ** 2));
    const result = await launch(["--memory", "64m", "--", "probe", "alloc", "200"]);
    expect(result.code).toBe(137);
  });

  test("--cpus, --cpuset-cpus, --pids-limit", async () => {
    const quota = cgroup1
      ? await read(["--cpus", "0.5"], "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
      : await read(["--cpus", "0.5"], "/sys/fs/cgroup/cpu.max");
    expect(quota.split(/\s+/)).toEqual(["50000", "100000"]);
    expect(await output(["--cpuset-cpus", "0", "--", "nproc"])).toBe("1\n");
    expect(cpus().length).toBeGreaterThan(0);
    expect(
      await read(["--pids-limit", "123"], cgroup1 ? "/sys/fs/cgroup/pids/pids.max" : "/sys/fs/cgroup/pids.max"),
    ).toBe("123");
  });

  test("--shm-size, --ulimit", async () => {
    const shm = await output(["--shm-size", "32m", "--", "sh", "-c", "df -k /dev/shm | tail -1"]);
    expect(shm.split(/\s+/)[1]).toBe(String(32 * 1024));
    const limits = await output([
      "--ulimit",
      "nofile=256:512",
      "--ulimit",
      "core=0",
      "--",
      "sh",
      "-c",
      "ulimit -n; ulimit -Hn; ulimit -c",
    ]);
    expect(limits).toBe("256\n512\n0\n");
  });

  test("--read-only and --tmpfs", async () => {
    const script = "touch /nope 2>/dev/null || echo ro; touch /scratch/x && ls /scratch; df -k /scratch | tail -1";
    const text = await output(["--read-only", "--tmpfs", "/scratch:size=4m,mode=1777", "--", "sh", "-c", script]);
    expect(text).toMatch(/^ro\nx\ntmpfs +4096 /);
  });

  test("-e, -e from the caller, --env-file, --clearenv", async () => {
    await inDirectory(async (cwd) => {
      const file = join(cwd, "job.env");
      writeFileSync(file, "# comment\nFROM_FILE=a b=c\n\nBOTH=file\nNODE_OPTIONS=--nonsense\n");
      const words = ["-e", "ONE=1", "-e", "CALLERS", "-e", "BOTH=flag", "--env-file", "job.env"];
      const env = { CALLERS: "mine", NOT_ASKED: "x" };
      const { bytes, stderr } = await launch([...words, "--", "probe", "env"], { cwd, env });
      expect(stderr).toBe("");
      const variables = bytes.toString("utf8").split("\0");
      expect(variables).toEqual(
        expect.arrayContaining(["ONE=1", "CALLERS=mine", "BOTH=flag", "FROM_FILE=a b=c", "NODE_OPTIONS=--nonsense"]),
      );
      expect(variables.filter((variable) => variable.startsWith("NOT_ASKED="))).toEqual([]);
      const image = ["run", "-i", IMAGES.locked, "--pull", "never", "--entrypoint", ""];
      const whole = (await gangway([...image, "--", "probe", "env"], { cwd })).bytes.toString("utf8").split("\0");
      const clear = (await gangway([...image, "--clearenv", "--", "probe", "env"], { cwd })).bytes
        .toString("utf8")
        .split("\0");
      expect(clear.length).toBeLessThanOrEqual(whole.length);
      expect(clear).toEqual(expect.arrayContaining([expect.stringMatching(/^GANGWAY_JOB_ID=/)]));
    });
  });

  test("--device", async () => {
    const text = await output([
      "--device",
      "/dev/zero:/dev/nought:r",
      "--",
      "sh",
      "-c",
      "head -c 3 /dev/nought | wc -c",
    ]);
    expect(text.trim()).toBe("3");
  });

  test("home and working directory at their own paths; --workdir; --no-mount-home, --no-mount-workdir", async () => {
    await inDirectory(async (cwd) => {
      chmodSync(cwd, 0o755);
      writeFileSync(join(cwd, "here"), "x");
      expect(await output(["--", "sh", "-c", `pwd; cat ${cwd}/here; cd; pwd; test -w . && echo home`], { cwd })).toBe(
        `${cwd}\nx${USER.home}\n${"home\n"}`,
      );
      expect(await output(["--workdir", "/usr", "--", "pwd"], { cwd })).toBe("/usr\n");
      expect(await output(["--no-mount-workdir", "--", "sh", "-c", `pwd; ls ${cwd} 2>/dev/null; true`], { cwd })).toBe(
        "/\n",
      );
      const without = await output(["--no-mount-home", "--", "sh", "-c", `ls ${USER.home} 2>/dev/null | wc -l`], {
        cwd,
      });
      expect(without.trim()).toBe("0");
    });
  });

  test("-v, relative, read-only", async () => {
    await inDirectory(async (cwd) => {
      mkdirSync(join(cwd, "data"), { mode: 0o777 });
      chmodSync(join(cwd, "data"), 0o777);
      chmodSync(cwd, 0o755);
      const words = ["-v", "./data:/in:ro", "-v", `${cwd}/data:/out`];
      const script = "touch /in/x 2>/dev/null || echo ro; touch /out/y && ls /in";
      expect(await output([...words, "--", "sh", "-c", script], { cwd })).toBe("ro\ny\n");
      expect(statSync(join(cwd, "data/y")).uid).toBe(USER.uid);
    });
  });

  test("the host name is the node's, on every network", async () => {
    for (const network of ["bridge", "host", "none"]) {
      expect(await output(["--network", network, "--", "hostname"])).toBe("node1\n");
    }
  });

  test("--entrypoint, and the image's own", async () => {
    expect(await output(["--entrypoint", "probe", "--", "say", "hi"])).toBe("hi\n");
    const empty = await gangway([
      "run",
      "-i",
      IMAGES.locked,
      "--pull",
      "never",
      "--entrypoint",
      "",
      "--",
      "probe",
      "say",
      "hi",
    ]);
    expect(empty).toMatchObject({ code: 0, stdout: "hi\n", stderr: "" });
  });

  test("--time-limit ends the job with 124", async () => {
    const { code, stderr } = await launch(["--time-limit", "1s", "--", "probe", "sleep", "60"]);
    expect({ code, stderr }).toEqual({ code: 124, stderr: "gangway: the job's time limit is reached\n" });
  });
});

describe("output", () => {
  test("through pipes and files is the command's alone: no progress, no colour", async () => {
    await inDirectory(async (cwd) => {
      const script = `${GANGWAY} run -i ${IMAGES.bare} --pull never -N 2 -- probe both >out 2>err </dev/null`;
      expect((await run(["sh", "-c", script], { cwd })).code).toBe(0);
      expect(readFileSync(join(cwd, "out"), "utf8")).toBe("out\n");
      expect(readFileSync(join(cwd, "err"), "utf8")).toBe("err\n");
      const piped = await run(["bash", "-c", `${GANGWAY} run -i ${IMAGES.bare} -- probe gen 1000000 1 | wc -c`], {
        cwd,
      });
      expect(piped.stdout.trim()).toBe("1000000");
      const cut = await run(
        [
          "bash",
          "-c",
          `${GANGWAY} run -i ${IMAGES.bare} -- probe gen 50000000 1 | head -c 10 | wc -c; echo "\${PIPESTATUS[0]}"`,
        ],
        { cwd },
      );
      expect(cut).toMatchObject({ stdout: "10\n141\n", stderr: "" });
    });
  });

  test("with closed streams the exit code still counts", async () => {
    const script = `${GANGWAY} run -i ${IMAGES.bare} -- probe exit 9 >&- 2>&- <&-`;
    expect((await run(["sh", "-c", script])).code).toBe(9);
  });
});
