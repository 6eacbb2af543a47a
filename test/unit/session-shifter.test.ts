import { execFileSync, spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callerEnvironment } from "../../src/allocation/caller-environment.ts";
import { ConfigError, GangwayError, UsageError } from "../../src/config/errors.ts";
import type { RunningLocalJob } from "../../src/job/local-jobs.ts";
import { findInstance, startIn, startScript } from "../../src/session/shifter/instance.ts";
import { parseShifterImage, runWords, shifterRequest, shownWords } from "../../src/session/shifter/request.ts";
import { parseShifterVolumes } from "../../src/session/shifter/volumes.ts";
import { parseShifterWords } from "../../src/session/shifter/words.ts";

const FLAG = { kind: "flag", name: "--volume" } as const;

/** A shifter command line in the words of `gangway run`. */
function translated(line: string, env: Record<string, string> = {}): string {
  return runWords(shifterRequest(parseShifterWords(line === "" ? [] : line.split(" ")), env)).join(" ");
}

describe("a shifter command line, as gangway run has it", () => {
  it.each([
    // Neither ENTRYPOINT nor CMD without --entrypoint; no command is a shell.
    ["--image=docker:app:1 ./solve -x", "--image app:1 --caller-env --entrypoint  -- ./solve -x"],
    ["-iapp", "--image app --caller-env --entrypoint  -- sh"],
    ["-i app --entrypoint", "--image app --caller-env --"],
    ["-i app --entry=/run.sh a", "--image app --caller-env --entrypoint /run.sh -- a"],
    ["-i app -E -e A=b --env-file f -- -x", "--image app --env-file f --env A=b --entrypoint  -- -x"],
    ["-i app -w x", "--image app --caller-env --entrypoint  --workdir  -- x"],
    ["-i app -w/x --workdir=/y x", "--image app --caller-env --entrypoint  --workdir /y -- x"],
    [
      "-i app -V /a:/b;/c:/d:ro -V/e:/f x",
      "--image app --volume /a:/b --volume /c:/d:ro --volume /e:/f --caller-env --entrypoint  -- x",
    ],
    ["-i custom:mine x", "--image mine --pull never --caller-env --entrypoint  -- x"],
    [`-i id:${"0f".repeat(32)} x`, `--image sha256:${"0f".repeat(32)} --pull never --caller-env --entrypoint  -- x`],
    ["-i app -m none x", "--image app --caller-env --entrypoint  -- x"],
    ["-i app --module=gpu x", "--image app --caller-env --gpus all --entrypoint  -- x"],
    // An abbreviation of two options that are one.
    ["-i app --entr", "--image app --caller-env --"],
  ])("%s", (line, words) => {
    expect(translated(line)).toBe(words);
  });

  it("is shown without the values of variables", () => {
    const words = runWords(shifterRequest(parseShifterWords(["-i", "a", "-e", "A=secret", "x"]), {}));
    expect(shownWords(words)).toBe("--image a --caller-env --env A=… --entrypoint '' -- x");
  });

  it.each([
    ["", /no image was named/],
    ["-i local:/a x", /no directory as an image/],
    ["-i docker: x", /names no image/],
    ["-i --env x", /names no image/],
    ["-i id:app x", /no image's id/],
    ["-i a -e A x", /not NAME=VALUE/],
    ["-i a -e A= x", /not NAME=VALUE/],
    ["-i a -e =b x", /not NAME=VALUE/],
    ["-i a --workdir=x", /not an absolute path/],
    ["-i a --entrypoint= x", /names no program/],
    ["-i a -m mpich x", /no module "mpich" here/],
    ["-i a -V a:/b x", /"a" is not an absolute path/],
    ["-i a -V /a x", /"" is not an absolute path/],
    ["-i a -V /a/../b:/b x", /has a \.\./],
    ["-i a -V /a:/b:rw x", /no flag "rw"/],
    ["-i a -V /a:/b:ro:ro x", /one flag is enough/],
    ["-i a -V /a:/b:perNodeCache=size=1G x", /perNodeCache is Shifter's own/],
  ])("%j is refused", (line, message) => {
    expect(() => translated(line)).toThrow(UsageError);
    expect(() => translated(line)).toThrow(message);
  });

  it("reads any words, or says what is wrong", () => {
    const word = fc.oneof(
      fc.constantFrom("-i", "-V", "-e", "-w", "--entrypoint", "--image=a", "/a:/b", "A=b", "--", "-Evn"),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        try {
          runWords(shifterRequest(parseShifterWords(words), {}));
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
          expect((error as GangwayError).hint).toBeDefined();
        }
      }),
    );
  });
});

describe("shifter's variables", () => {
  const image = (env: Record<string, string>) => shifterRequest(parseShifterWords([]), env).image?.name;

  it("type and image count together, else the request, each before what Slurm says", () => {
    expect(image({ SHIFTER_IMAGETYPE: "docker", SHIFTER_IMAGE: "a:1", SHIFTER_IMAGEREQUEST: "b" })).toBe("a:1");
    expect(image({ SHIFTER_IMAGE: "a", SHIFTER_IMAGEREQUEST: "docker:b" })).toBe("b");
    expect(image({ SLURM_SPANK_SHIFTER_IMAGEREQUEST: "b" })).toBe("b");
    expect(image({ SHIFTER_IMAGEREQUEST: "a", SLURM_SPANK_SHIFTER_IMAGEREQUEST: "b" })).toBe("a");
    const spank = { SLURM_SPANK_SHIFTER_IMAGETYPE: "docker", SLURM_SPANK_SHIFTER_IMAGE: "c" };
    expect(image(spank)).toBe("c");
    expect(image({})).toBeUndefined();
    expect(translated("-i mine x", spank)).toContain("--image mine");
  });

  it("volumes and modules of the environment count where the command line has none", () => {
    const env = { SHIFTER_VOLUME: '"/a:/b:ro";/c:/d;', SLURM_SPANK_SHIFTER_VOLUME: "/e:/f", SHIFTER_MODULE: "gpu" };
    expect(translated("-i a x", env)).toContain("--image a --volume /a:/b:ro --volume /c:/d --caller-env --gpus all");
    expect(translated("-i a -V /x:/y -m none x", env)).toBe("--image a --volume /x:/y --caller-env --entrypoint  -- x");
  });

  it("are named where they are wrong", () => {
    const wrong = () => translated("-i a x", { SHIFTER_VOLUME: "a:b" });
    expect(wrong).toThrow(ConfigError);
    expect(wrong).toThrow(/^SHIFTER_VOLUME: "a:b": "a" is not/);
  });
});

describe("shifter's volumes", () => {
  it("come apart as they were put together", () => {
    const path = fc
      .array(fc.string({ unit: fc.constantFrom(..."ab .=,-ü\"'"), minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 3,
      })
      .map((parts) => `/${parts.join("/")}`)
      .filter((text) => !text.split("/").includes(".."));
    const volume = fc.tuple(path, path, fc.constantFrom("", ":ro")).map(([from, to, flag]) => `${from}:${to}${flag}`);
    fc.assert(
      fc.property(fc.array(volume, { maxLength: 4 }), fc.boolean(), (volumes, inQuotes) => {
        const text = volumes.map((each) => (inQuotes ? `"${each}"` : each)).join(";");
        expect(parseShifterVolumes(text, FLAG)).toEqual(volumes);
      }),
    );
  });
});

describe("an image's type", () => {
  it("is docker where none of Shifter's is said", () => {
    for (const name of ["app", "app:1", "reg.example:5000/a/b:1", "dockers:1"]) {
      expect(parseShifterImage(name, FLAG)).toEqual({ name, local: false });
    }
    expect(parseShifterImage("id:0123456789ab", FLAG)).toEqual({ name: "0123456789ab", local: true });
  });
});

describe("the caller's variables", () => {
  it("are handed on but for what the linker drops, what is this host's, what is told anew, and secrets", () => {
    const kept = { OMP_NUM_THREADS: "4", PATH: "/a", LANG: "C", MY_DATA: "/x", SLURM_JOB_ID: "7" };
    const left = {
      ...{ LD_PRELOAD: "x", TMPDIR: "/t", SSH_AUTH_SOCK: "/s", DISPLAY: ":0", XDG_RUNTIME_DIR: "/r", PMI_RANK: "0" },
      ...{ SLURM_STEP_ID: "0", SHIFTER_IMAGE: "a", GANGWAY_PULL: "never", API_TOKEN: "t", DOCKER_HOST: "unix:///x" },
    };
    expect(Object.fromEntries(callerEnvironment({ ...kept, ...left }))).toEqual(kept);
  });
});

/** A launch as its record tells of it. */
function launch(image: string, volumes?: readonly string[], sockets: readonly (string | undefined)[] = ["/b/1/0/ssh"]) {
  const nodes = sockets.map((socket, index) => ({ name: `n${index}`, index, socket }));
  return {
    id: "7",
    record: { image, sshd: true, ...(volumes === undefined ? {} : { volumes }) },
    nodes,
  } as unknown as RunningLocalJob;
}

describe("the instance of the job around", () => {
  const named = (name: string) => ({ image: { name, local: false } });

  it("is one with the same image and the same volumes, on this host", () => {
    const other = launch("other", []);
    const app = launch("docker.io/library/app:latest", [], [undefined, "/b/7/1/ssh"]);
    expect(findInstance(named("app"), [], [other, app])).toMatchObject({ job: app, node: { name: "n1" } });
    expect(findInstance({ image: undefined }, [], [app, other])?.job).toBe(app);
    expect(findInstance(named("app:2"), [], [other, app])).toBeUndefined();
    expect(findInstance(named("app"), ["/a:/b"], [app])).toBeUndefined();
    expect(findInstance(named("app"), ["/a:/b"], [launch("app", ["/a:/b"])])).toBeDefined();
    expect(findInstance(named("app"), [], [launch("app", [], [undefined])])).toBeUndefined();
    // An older Gangway's record does not tell.
    expect(findInstance(named("app"), [], [launch("app")])).toBeUndefined();
  });

  const image = {
    ...{ id: "sha256:0", architecture: "amd64", os: "linux", user: "", volumes: [], layers: [] },
    ...{ env: ["PATH=/image", "A=image"], entrypoint: ["/entry", "-e"], cmd: ["cmd"], workdir: "/image" },
  };
  const start = (line: string, changes: Partial<Parameters<typeof startIn>[1]> = {}) =>
    startIn(image, {
      request: shifterRequest(parseShifterWords(line === "" ? [] : line.split(" ")), {}),
      caller: [],
      own: [],
      site: { set: {}, prepend: {}, append: {}, unset: [] },
      callerDirectory: "/here",
      ...changes,
    });

  it("gets the environment in Shifter's order: the caller's, the image's, the user's, the site's", () => {
    const { environment } = start("", {
      caller: [
        ["A", "caller"],
        ["B", "caller"],
        ["HOME", "/caller"],
        ["S", "caller"],
        ["PATH", "/caller"],
      ],
      own: [
        ["C", "own"],
        ["S", "own"],
        ["U", "own"],
      ],
      site: { set: { S: "site" }, prepend: {}, append: {}, unset: ["U"] },
    });
    expect(environment).toEqual([
      ["B", "caller"],
      ["C", "own"],
    ]);
    const path = start("", { own: [["PATH", "/mine"]] }).environment[0]?.[1];
    expect(path).toBe("/opt/udiImage/bin:/mine:/opt/udiImage/tools");
  });

  it("runs the command, the entry point, or a shell, where it was said", () => {
    expect(start("")).toMatchObject({ command: ["sh"], directory: "/here", named: false });
    expect(start("-w a b")).toMatchObject({ command: ["a", "b"], directory: "/image", named: true });
    expect(start("-w/x --entrypoint")).toMatchObject({ command: ["/entry", "-e", "cmd"], directory: "/x" });
    expect(start("--entrypoint a")).toMatchObject({ command: ["/entry", "-e", "a"] });
    expect(start("--entrypoint=/my a")).toMatchObject({ command: ["/my", "a"] });
    expect(() =>
      startIn(
        { ...image, entrypoint: [] },
        {
          request: shifterRequest(parseShifterWords(["--entrypoint"]), {}),
          caller: [],
          own: [],
          site: { set: {}, prepend: {}, append: {}, unset: [] },
          callerDirectory: "/",
        },
      ),
    ).toThrow(/the image has none/);
  });

  it("is given any environment and any words exactly as they are", () => {
    const value = fc.string({ unit: "binary", maxLength: 12 }).filter((text) => !text.includes("\0"));
    const name = fc.stringMatching(/^X[A-Za-z0-9_]{0,5}$/);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, value), { maxLength: 3 }),
        fc.array(value, { maxLength: 3 }),
        (environment, words) => {
          const show = "process.stdout.write(JSON.stringify([process.env, process.argv.slice(1)]))";
          const command = [process.execPath, "-e", show, "--", ...words];
          const script = startScript({ environment, directory: "/", named: false, command }, "/nonexistent/x");
          const output = execFileSync("/bin/sh", ["-c", script], {
            env: { GONE: "x" },
            stdio: ["ignore", "pipe", "ignore"],
          });
          const [seen, heard] = JSON.parse(String(output)) as [Record<string, string>, string[]];
          expect(heard).toEqual(words);
          expect(seen).toMatchObject(Object.fromEntries(environment));
        },
      ),
      { numRuns: 20 },
    );
  });

  it("says where it is when the directory that was named is not there, and only then", () => {
    const run = (named: boolean) => {
      const script = startScript({ environment: [], directory: "/nowhere", named, command: ["pwd"] }, "/nonexistent/x");
      const { stdout, stderr } = spawnSync("/bin/sh", ["-c", script.replace(/^.*\n/, "")], {
        cwd: "/usr",
        encoding: "utf8",
      });
      return [stdout, stderr];
    };
    expect(run(false)).toEqual(["/usr\n", ""]);
    expect(run(true)).toEqual([
      "/usr\n",
      "gangway: there is no directory /nowhere in the container; staying in /usr\n",
    ]);
  });
});
