import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DIFFERENT_ENGINES, GANGWAY, IMAGES } from "./harness.ts";
import { HeldJob } from "./held.ts";
import { INTERACTIVE_SHELL, onTerminal, suspended } from "./terminal.ts";

describe("on a terminal", () => {
  const RUN = [GANGWAY, "run", "--image", IMAGES.bare] as const;

  it.each(DIFFERENT_ENGINES)("the command has it, in its size, and hears of another: $name", async (engine) => {
    const result = await onTerminal(
      [...RUN, "--", "sh", "-c", "probe tty; exec probe winch"],
      [
        { expect: "size 30 90" },
        { expect: "size 30 90" },
        { resize: [41, 132] },
        { expect: "size 41 132" },
        { send: "\u0003" },
      ],
      { engine },
    );
    expect(result).toMatchObject({ code: 130 });
    expect(result.output).toMatch(/foreground/);
  });

  it.each(DIFFERENT_ENGINES)("^C interrupts: $name", async (engine) => {
    const result = await onTerminal(
      [...RUN, "--", "sh", "-c", "echo go; sleep 60"],
      [{ expect: "go" }, { send: "\u0003" }],
      {
        engine,
      },
    );
    expect(result).toMatchObject({ code: 130 });
  });

  it.each(DIFFERENT_ENGINES)("what is printed arrives as it is: no CR is put in: $name", async (engine) => {
    const script = "stty -opost; printf 'left\\n  right'; exit 3";
    const result = await onTerminal([...RUN, "--", "sh", "-c", script], [], { engine });
    expect(result).toEqual({ code: 3, output: "left\n  right" });
  });

  it("^\\ quits, and ^D is the end of input", async () => {
    const words = ["--ulimit", "core=0", "--", "sh", "-c"];
    // A shell that does not ignore QUIT by itself.
    const debian = [GANGWAY, "run", "--image", IMAGES.debian, ...words, "echo go; sleep 60"];
    const quit = await onTerminal(debian, [{ expect: "go" }, { send: "\u001c" }]);
    expect(quit).toMatchObject({ code: 131 });
    const end = await onTerminal(
      [...RUN, "--", "sh", "-c", "echo go; cat; exit 4"],
      [{ expect: "go" }, { send: "typed\r" }, { expect: "typed[\\s\\S]*typed" }, { send: "\u0004" }],
    );
    expect(end).toMatchObject({ code: 4 });
  });

  it("a shell in the job has job control: ^C, ^Z, fg, its own exit code", async () => {
    const result = await onTerminal(
      [...RUN, "--env", "PS1=job> ", "--", "sh", "-i"],
      [
        { expect: "job> " },
        { send: "sleep 61\r" },
        { expect: "sleep 61" },
        { pause: 0.3 },
        { send: "\u0003" },
        { expect: "job> " },
        { send: "echo code $?\r" },
        { expect: "^code 130" },
        { send: "sleep 62\r" },
        { pause: 0.3 },
        { send: "\u001a" },
        { expect: "Stopped" },
        { send: "jobs\r" },
        { expect: "sleep 62" },
        { send: "fg\r" },
        { pause: 0.3 },
        { send: "\u0003" },
        { expect: "job> " },
        { send: "exit 6\r" },
      ],
    );
    expect(result).toMatchObject({ code: 6 });
  });

  it("^Z stops the launcher as any local command, and fg goes on with it", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- sh -c 'echo go; probe winch; echo never'\r` },
      { expect: "^size 30 90" },
      { send: "\u001a" },
      { expect: "Stopped[\\s\\S]*host> " },
      { send: "echo here\r" },
      { expect: "^here[\\s\\S]*host> " },
      { resize: [22, 70] },
      { send: "fg\r" },
      { expect: "size 22 70" },
      { send: "\u0003" },
      { expect: "host> " },
      { send: "echo code $?\r" },
      { expect: "^code 130" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  it("a command that stops itself is continued by fg, and ends as it will", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe stop -- exit 5\r` },
      { expect: "Stopped[\\s\\S]*host> " },
      { send: "fg\r" },
      { expect: "^continued[\\s\\S]*host> " },
      { send: "echo code $?\r" },
      { expect: "^code 5" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  it("in the background it runs to its end and is not stopped", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe say 'from behind' -- exit 3 &\r` },
      { expect: "from behind$" },
      { send: "wait\r" },
      { expect: "Exit 3" },
      { send: `${RUN.join(" ")} --no-tty -- cat & wait; echo waited\r` },
      { expect: "^waited" },
      { send: "exit\r" },
    ]);
    expect(result.output).not.toContain("Stopped");
  });

  it("the terminal is as it was afterwards", async () => {
    const result = await onTerminal(INTERACTIVE_SHELL, [
      { expect: "host> " },
      { send: "before=$(stty -g)\r" },
      { expect: "host> " },
      { send: `${RUN.join(" ")} -- probe kill 9\r` },
      { expect: "host> " },
      { send: '[ "$before" = "$(stty -g)" ] && echo the-same-$?\r' },
      { expect: "^the-same-0" },
      { send: "exit\r" },
    ]);
    expect(result.code).toBe(0);
  });

  describe("of a session", () => {
    let job: HeldJob;
    beforeAll(async () => {
      job = await HeldJob.start({ nodes: 2 });
    });
    afterAll(async () => {
      expect(await job.end()).toBe(0);
    });

    it("gangway shell: size, resize, ^C, exit code", async () => {
      const winch = [GANGWAY, "shell", job.id, "--", "probe", "winch"];
      const steps = [
        { expect: "size 30 90" },
        { resize: [44, 111] },
        { expect: "size 44 111" },
        { send: "\u0003" },
      ] as const;
      expect(await onTerminal(winch, steps)).toMatchObject({ code: 130 });
      const shell = await onTerminal(
        [GANGWAY, "shell", job.id],
        [{ expect: "[$] " }, { send: "sleep 60\r" }, { pause: 0.3 }, { send: "\u0003" }, { send: "exit 9\r" }],
      );
      expect(shell).toMatchObject({ code: 9 });
    });

    it("~^Z, ssh's own, gives the terminal back to the shell on the host, and fg goes on with the session", async () => {
      const result = await onTerminal(INTERACTIVE_SHELL, suspended([GANGWAY, "ssh", job.id]));
      expect(result).toMatchObject({ code: 9 });
    });

    it("ssh -tt node2: a terminal of the same size, ^C, exit code", async () => {
      const result = await onTerminal(
        [GANGWAY, "shell", job.id, "--", "sh", "-c", "ssh -tt node2 probe winch; echo code $?"],
        [
          { expect: "size 30 90" },
          { resize: [33, 99] },
          { expect: "size 33 99" },
          { send: "\u0003" },
          { expect: "code 130" },
        ],
      );
      expect(result).toMatchObject({ code: 0 });
    });

    it("ssh -tt without a terminal of one's own", async () => {
      const { stdout } = await job.shell(["ssh", "-tt", "-q", "node2", "probe tty; exit 6"], "", { input: "" });
      expect(stdout.replaceAll("\r", "")).toMatch(/tty/);
    });
  });
});
