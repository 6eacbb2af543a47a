import { once } from "node:events";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError, UsageError } from "../../src/config/errors.ts";
import { INIT, imageOf, parseRuntimeLine } from "../../src/job/runtime-command.ts";
import { endsWithLauncher, RuntimeEngine } from "../../src/job/runtime-engine.ts";
import { bindList, runtimeEnvironment, withoutStep } from "../../src/job/runtime-environment.ts";

const word = fc.string({ minLength: 1 }).filter((text) => text !== INIT);
const plainWord = word.filter((text) => !text.startsWith("-"));

describe("a runtime's command line", () => {
  it("is taken apart at the first init, whatever else is in it", () => {
    const behind = fc.array(fc.string());
    fc.assert(
      fc.property(fc.array(word, { minLength: 1 }), plainWord, behind, (words, program, rest) => {
        const command = [program, ...rest];
        expect(parseRuntimeLine([...words, INIT, "--", ...command])).toEqual({ words, command });
        expect(parseRuntimeLine([...words, INIT, ...command])).toEqual({ words, command });
      }),
    );
  });

  it("behind -- has any command, also one that begins with a dash", () => {
    expect(parseRuntimeLine(["a", INIT, "--", "--", "x"]).command).toEqual(["--", "x"]);
    expect(parseRuntimeLine(["a", INIT, "--", "-c"]).command).toEqual(["-c"]);
  });

  it.each([
    [["apptainer", "exec", "app.sif", "./solve"], /is not .*init/],
    [[], /is not .*init/],
    [[INIT, "--", "x"], /no runtime/],
    [["a", INIT], /no command/],
    [["a", INIT, "--"], /no command/],
    [["a", INIT, "--linger", "5", "--", "x"], /--linger stands behind init/],
  ])("%j is refused with the next step", (line, message) => {
    const refused = () => parseRuntimeLine(line);
    expect(refused).toThrow(UsageError);
    expect(refused).toThrow(message);
    try {
      refused();
    } catch (error) {
      expect((error as GangwayError).hint).toContain("gangway attach-runtime");
    }
  });

  it("names the image last", () => {
    expect(imageOf(["apptainer", "exec", "--nv", "app.sif"])).toBe("app.sif");
  });
});

describe("what a runtime is told by its environment", () => {
  const mounts = [
    { source: "/tree", target: "/opt/udiImage", readOnly: true },
    { source: "/base/j/0", target: "/run/gangway", readOnly: false },
  ];
  const binds = "/tree:/opt/udiImage:ro,/base/j/0:/run/gangway";
  const env = ["HOME=/home/a", "PATH=/bin", "GANGWAY_JOB_ID=j", "OMPI_MCA_plm=rsh", "LD_PRELOAD=x", "GANGWAY_NODE=a=b"];

  it("are the binds, for Apptainer and SingularityCE alike", () => {
    const made = runtimeEnvironment({}, { env, mounts });
    expect(made).toMatchObject({ APPTAINER_BIND: binds, SINGULARITY_BIND: binds, GANGWAY_BINDS: binds });
  });

  it("the job's facts go in, also where the runtime keeps all else out; nothing else of an engine's environment does", () => {
    const made = runtimeEnvironment({ HOME: "/mine", PATH: "/usr/bin" }, { env, mounts });
    for (const prefix of ["", "APPTAINERENV_", "SINGULARITYENV_"]) {
      expect(made[`${prefix}GANGWAY_JOB_ID`]).toBe("j");
      expect(made[`${prefix}GANGWAY_NODE`]).toBe("a=b");
      expect(made[`${prefix}OMPI_MCA_plm`]).toBe("rsh");
    }
    expect(made).toMatchObject({ HOME: "/mine", PATH: "/usr/bin" });
    expect(Object.keys(made).filter((name) => /HOME|LD_PRELOAD|V_PATH/.test(name))).toEqual(["HOME"]);
  });

  it("what the user has set stays: binds before ours, places in PATH between ours", () => {
    const caller = { SINGULARITY_BIND: "/data", APPTAINERENV_PREPEND_PATH: "/a", SINGULARITYENV_APPEND_PATH: "/z" };
    const made = runtimeEnvironment(caller, { env: [], mounts });
    expect(made).toMatchObject({
      APPTAINER_BIND: `/data,${binds}`,
      SINGULARITY_BIND: `/data,${binds}`,
      APPTAINERENV_PREPEND_PATH: "/opt/udiImage/bin:/a",
      SINGULARITYENV_APPEND_PATH: "/z:/opt/udiImage/tools",
    });
  });

  it("the two families never differ, since Apptainer complains of that", () => {
    const variables = fc.dictionary(
      fc.constantFrom("APPTAINER_BIND", "SINGULARITY_BIND", "APPTAINERENV_PREPEND_PATH", "SINGULARITYENV_APPEND_PATH"),
      fc.string(),
    );
    fc.assert(
      fc.property(variables, (caller) => {
        const made = runtimeEnvironment(caller, { env, mounts });
        expect(made.APPTAINER_BIND).toBe(made.SINGULARITY_BIND);
        expect(made.APPTAINERENV_PREPEND_PATH).toBe(made.SINGULARITYENV_PREPEND_PATH);
        expect(made.APPTAINERENV_APPEND_PATH).toBe(made.SINGULARITYENV_APPEND_PATH);
      }),
    );
  });

  it("on another host has nothing of the step that the manager's launcher made for us", () => {
    const caller = {
      SLURM_JOB_ID: "1",
      SLURM_STEP_ID: "0",
      PMI_FD: "4",
      PMIX_RANK: "0",
      HOME: "/h",
      SLURMD_NODENAME: "n2",
    };
    const left = { SLURM_JOB_ID: "1", HOME: "/h", SLURMD_NODENAME: "n2" };
    expect(withoutStep(caller, ["SLURM_JOB_ID=1", "PATH=/bin"])).toEqual(left);
  });

  it.each(["/a,b", "/a:b", "/a\\b", '/a"b', "/a\nb"])(
    "a place such as %j cannot be bound, and is refused",
    (source) => {
      const refused = () => bindList([{ source, target: "/x", readOnly: true }]);
      expect(refused).toThrow(GangwayError);
      expect(refused).toThrow(/cannot be bound/);
    },
  );
});

describe("a runtime as an engine", () => {
  const spec = { name: "c", argv: [INIT, "--launcher"], env: [], mounts: [] } as unknown as Parameters<
    RuntimeEngine["create"]
  >[0];

  it("starts its command line with init's behind it, and says how it ended", async () => {
    const script = 'printf "%s\\n" "$@"; exit 3';
    const engine = new RuntimeEngine({ words: ["sh", "-c", script, "sh", "one"], accounts: false }, "piped");
    const id = await engine.create(spec);
    const { stdout } = await engine.attach(id);
    let said = "";
    stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await expect(engine.start(id)).rejects.toThrow(
      "the runtime sh ended with status 3 before the container's init was up",
    );
    expect(said).toBe(`one\n${INIT}\n--launcher\n`);
    expect(await engine.inspect(id)).toMatchObject({ running: false });
    await engine.remove(id);
    expect(await engine.inspect(id)).toBeUndefined();
  });

  it("tells of a runtime that is not there", async () => {
    const engine = new RuntimeEngine({ words: ["/nowhere/apptainer"], accounts: false }, "piped");
    const id = await engine.create(spec);
    await expect(engine.start(id)).rejects.toThrow(/\/nowhere\/apptainer cannot be started.*ENOENT/);
    await engine.remove(id);
  });

  it("ends one that does not end by itself, and kills one that will not", async () => {
    for (const [script, how] of [
      ["echo ready; exec sleep 600", "SIGTERM"],
      ["trap '' TERM; echo ready; exec sleep 600", "SIGKILL"],
    ] as const) {
      const engine = new RuntimeEngine({ words: ["sh", "-c", script], accounts: false }, "piped", 200);
      const id = await engine.create(spec);
      const { stdout } = await engine.attach(id);
      const ended = engine.start(id).catch((error: unknown) => error);
      await once(stdout, "data");
      await engine.remove(id);
      expect(String(await ended)).toContain(how);
    }
  });

  it("needs no watchdog for its containers", () => {
    expect(endsWithLauncher(new RuntimeEngine({ words: ["x"], accounts: false }, "own").endpoint)).toBe(true);
    expect(endsWithLauncher({ socketPath: "/var/run/docker.sock", origin: "default" })).toBe(false);
  });
});
