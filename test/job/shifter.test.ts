import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GANGWAY, gangway, IMAGES, inDirectory, type RunOptions, type RunResult, run, USER } from "./harness.ts";

const BARE = ["--image", IMAGES.bare] as const;
/** An image with an ENTRYPOINT, a WORKDIR and variables of its own. */
const LOCKED = ["--image", IMAGES.locked] as const;

async function shifter(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await gangway(["shifter", ...words], options);
}

/** What it prints; it has to go well, without a word of ours. */
async function output(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await shifter(words, options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

describe("shifter without an instance: a job of its own", () => {
  it("runs the command in the image, here, with the caller's variables beneath the image's", async () => {
    await inDirectory(async (cwd) => {
      const env = { MINE: "a b", APP_MODE: "caller", LD_LIBRARY_PATH: "/x", SHIFTER_IMAGEREQUEST: "nothing" };
      const tell = 'pwd; echo "$MINE|$APP_MODE|$LD_LIBRARY_PATH|$EXTRA|$SHIFTER_IMAGEREQUEST|$ENTRYPOINT_WAS_HERE"';
      const stdout = await output([...LOCKED, "-e", "EXTRA=x", "sh", "-c", tell], { cwd, env });
      expect(stdout).toBe(`${cwd}\na b|locked||x|${IMAGES.locked}|\n`);
    });
  });

  it("-E leaves the caller's variables out; --env-file and -e add to the image's", async () => {
    await inDirectory(async (cwd) => {
      writeFileSync(join(cwd, "file"), "A=file\nB=file\n");
      const words = ["-E", "--env-file=file", "-e", "B=flag", ...LOCKED, "sh", "-c", 'echo "$A $B $APP_MODE $MINE"'];
      expect(await output(words, { cwd, env: { MINE: "x" } })).toBe("file flag locked \n");
    });
  });

  it("-w starts in the image's directory, --entrypoint by its entry point", async () => {
    expect(await output([...LOCKED, "-w", "pwd"])).toBe("/srv/app\n");
    const tell = 'echo "$ENTRYPOINT_WAS_HERE"';
    expect(await output([...LOCKED, "--entrypoint", "sh", "-c", tell])).toBe("yes, with 3 arguments\n");
    expect(await output([...LOCKED, "--entrypoint=/bin/echo", "a", "b"])).toBe("a b\n");
  });

  it("volumes of the command line, else those of SHIFTER_VOLUME", async () => {
    await inDirectory(async (cwd) => {
      for (const name of ["one", "two"]) {
        mkdirSync(join(cwd, name));
        writeFileSync(join(cwd, name, "file"), `${name}\n`);
      }
      const env = { SHIFTER_VOLUME: `${cwd}/one:/data:ro;${cwd}/two:/more` };
      const look = ["sh", "-c", "cat /data/file /more/file; echo x 2>/dev/null >/data/new || echo read-only"];
      expect(await output([...BARE, ...look], { env })).toBe("one\ntwo\nread-only\n");
      const flag = ["-V", `${cwd}/two:/data`];
      expect(await output([...BARE, ...flag, "sh", "-c", "cat /data/file; ls -d /more 2>&1 | wc -l"], { env })).toMatch(
        /^two\n/,
      );
      expect((await shifter([...BARE, ...flag, "cat", "/more/file"], { env })).code).toBe(1);
    });
  });

  it("without a command a shell, which reads what it is given", async () => {
    expect(await output(["-i", `docker:${IMAGES.bare}`], { input: "echo $((6 * 7))\n" })).toBe("42\n");
    expect(await output(["-i", IMAGES.scratch], { input: "echo ours\n" })).toBe("ours\n");
  });

  it("the image by variables, and by its id", async () => {
    const env = { SLURM_SPANK_SHIFTER_IMAGETYPE: "docker", SLURM_SPANK_SHIFTER_IMAGE: IMAGES.bare };
    const id = await output(["sh", "-c", 'echo "$SHIFTER_IMAGE"'], { env });
    expect(id).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(await output([`--image=id:${id.trim().slice("sha256:".length)}`, "echo", "x"])).toBe("x\n");
  });

  it.each([
    [["sh", "-c", "exit 7"], 7],
    [["sh", "-c", "kill -9 $$"], 137],
    [["/nonexistent"], 127],
  ])("ends as the command did: %j", async (command, code) => {
    expect((await shifter([...BARE, ...command])).code).toBe(code);
  });

  it.each([
    [[], /no image was named/],
    [["--imag"], /--image needs an argument/],
    [["--nothing"], /there is no option "--nothing"/],
    [[...BARE, "-V", "a:b", "true"], /not an absolute path/],
    [[...BARE, "-V", "/nonexistent:/b", "true"], /does not exist on this host/],
    [[...BARE, "-V", "/usr:/etc", "true"], /Gangway's own/],
    [["--image=custom:gangway-test/none", "true"], /the engine has no image/],
    [["--image=local:/", "true"], /no directory as an image/],
  ])("%j fails with 1, and a word why", async (words, message) => {
    const { code, stdout, stderr } = await shifter(words);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });

  it("refuses root", async () => {
    const root = { name: "root", uid: 0, gid: 0, home: "/root", runtime: USER.runtime };
    expect(await shifter([...BARE, "true"], { user: root })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/shifter is not for root/) as string,
    });
  });

  it("-v says it in the words of gangway run, without values", async () => {
    const { stderr } = await shifter(["-v", ...BARE, "-e", "A=secret", "true"]);
    expect(stderr).toBe(
      `gangway: as: gangway run --image ${IMAGES.bare} --caller-env --env A=… --entrypoint '' -- true\n`,
    );
  });

  it("also when called by that name", async () => {
    await inDirectory(async (cwd) => {
      symlinkSync(GANGWAY, join(cwd, "shifter"));
      const called = join(cwd, "shifter");
      expect((await run([called, "--help"], { cwd })).stdout).toMatch(/^Usage: gangway shifter /);
      expect(await run([called, ...BARE, "echo", "--help"], { cwd })).toMatchObject({ code: 0, stdout: "--help\n" });
      // A command of ours by its name is only a command there.
      expect((await run([called, ...BARE, "run"], { cwd })).code).toBe(127);
    });
  });
});

describe("shifter within a manager's job whose container runs here", () => {
  const env = { SLURM_JOB_ID: "7117", SLURM_JOB_NODELIST: hostname(), GANGWAY_SITE: "x" };
  let place: string;
  let end: () => void;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let held: Promise<void>;

  beforeAll(async () => {
    await new Promise<void>((ready, failed) => {
      held = inDirectory(async (cwd) => {
        place = cwd;
        mkdirSync(join(cwd, "data"));
        const volume = ["--volume", `${cwd}/data:/data:ro`];
        const words = [
          "run",
          "--detach",
          ...volume,
          "--env",
          "OF_JOB=job",
          "--image",
          IMAGES.locked,
          "--entrypoint",
          "",
        ];
        const { code, stderr } = await gangway([...words, "--", "sleep", "600"], { cwd, env });
        if (code !== 0) return failed(new Error(stderr));
        ready();
        await ended;
        await gangway(["stop", "7117"]);
      });
    });
  });
  afterAll(async () => {
    end();
    await held;
  });

  const volume = () => ["-V", `${place}/data:/data:ro`];
  /** Whose container it is: that of the job, or another. */
  const tell = ["sh", "-c", "echo $GANGWAY_JOB_ID"] as const;

  it("enters it where image and volumes are the same, or no image was named", async () => {
    const options = { env, cwd: place };
    expect(await output([...LOCKED, ...volume(), ...tell], options)).toBe("7117\n");
    expect(await output([...volume(), ...tell], options)).toBe("7117\n");
    const spelled = ["-i", `docker:docker.io/${IMAGES.locked}:latest`];
    expect(await output([...spelled, ...volume(), ...tell], options)).toBe("7117\n");
    expect((await shifter(["-v", ...volume(), "true"], options)).stderr).toBe(
      `gangway: into: ${hostname()} of job 7117\n`,
    );
  });

  it("starts another beside it where they differ", async () => {
    const options = { env, cwd: place };
    expect(await output([...LOCKED, ...tell], options)).toBe("7117-2\n");
    expect(await output([...BARE, ...volume(), ...tell], options)).toBe("7117-2\n");
    expect(await output([...LOCKED, ...volume(), ...tell], { cwd: place })).not.toMatch(/^7117/);
  });

  it("with the environment in Shifter's order, and every word as it is", async () => {
    const mine = { ...env, MINE: 'it\'s\n"$x"', APP_MODE: "caller", OF_JOB: "caller" };
    const show = 'printf "<%s>" "$MINE" "$APP_MODE" "$OF_JOB" "$EXTRA" "$PWD" "$@"';
    const words = [...LOCKED, ...volume(), "-e", "EXTRA=;`'", "sh", "-c", show, "sh", "", "a  b", "'$(id)'"];
    expect(await output(words, { env: mine, cwd: place })).toBe(
      `<it's\n"$x"><locked><caller><;\`'><${place}><><a  b><'$(id)'>`,
    );
    const clear = await output(["-E", ...volume(), "sh", "-c", 'echo "$MINE|$OF_JOB"'], { env: mine, cwd: place });
    expect(clear).toBe("|job\n");
  });

  it("with the image's directory, entry point, or a shell", async () => {
    const options = { env, cwd: place };
    expect(await output([...volume(), "--workdir", "pwd"], options)).toBe("/srv/app\n");
    expect(await output([...volume(), "--workdir=/usr", "pwd"], options)).toBe("/usr\n");
    const entry = await output([...volume(), "--entrypoint", "sh", "-c", 'echo "$ENTRYPOINT_WAS_HERE"'], options);
    expect(entry).toBe("yes, with 3 arguments\n");
    expect(await output(volume(), { ...options, input: "echo $((6 * 7))\n" })).toBe("42\n");
    const lost = await shifter([...volume(), "--workdir=/nowhere", "true"], options);
    expect(lost.stderr).toMatch(/there is no directory \/nowhere in the container; staying in \//);
  });

  it.each([
    [["sh", "-c", "exit 7"], 7],
    [["sh", "-c", "kill -9 $$"], 137],
    [["/nonexistent"], 127],
  ])("ends as the command did: %j", async (command, code) => {
    expect((await shifter([...volume(), ...command], { env, cwd: place })).code).toBe(code);
  });

  it("leaves nothing in the job's directory", async () => {
    const names = readdirSync(join(USER.runtime, "gangway/7117/0"));
    expect(names).toContain("ssh");
    expect(names.filter((name) => name.startsWith("shifter"))).toEqual([]);
  });
});
