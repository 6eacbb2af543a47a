import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gangway, IMAGES, inDirectory, run, UDI_IMAGE, USER } from "./harness.ts";

/* ~C with the generated configuration, by the distribution's ssh and by ours; and ssh that is older stays unharmed. */

const JOB = "escape-1";
const directory = join(USER.runtime, "gangway", JOB);

describe("the escape command line", () => {
  beforeAll(async () => {
    await inDirectory(async (cwd) => {
      const words = ["run", "-d", "--name", JOB, "--image", IMAGES.debian, "sleep", "300"];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
  });
  afterAll(async () => await gangway(["stop", "--signal", "KILL", JOB]));

  it.each(["/usr/bin/ssh", join(UDI_IMAGE, "bin/ssh")])("is on for the job, by %s", async (ssh) => {
    const { stdout } = await run([ssh, "-G", "-F", join(directory, "kit/ssh_config"), `${JOB}.job`]);
    expect(stdout).toContain("enableescapecommandline yes\n");
    const other = await run([ssh, "-G", "-F", join(directory, "kit/ssh_config"), "elsewhere"]);
    expect(other.stdout).not.toContain("enableescapecommandline yes\n");
  });

  it.each(["/usr/bin/ssh", join(UDI_IMAGE, "bin/ssh")])("opens a forward in a running session, by %s", async (ssh) => {
    await inDirectory(async (cwd) => {
      // script(1) makes the terminal; ~ counts at the beginning of a line.
      const script = `(sleep 1; printf '\\r~C'; sleep 1; printf -- '-L ${cwd}/f:/run/gangway/ssh\\r'; sleep 1; printf 'exit\\r') |
        script -qec "${ssh} -tt -F ${directory}/kit/ssh_config ${JOB}.job" /dev/null; ls ${cwd}`;
      const { stdout } = await run(["sh", "-c", script], { cwd });
      expect(stdout).toContain("ssh> ");
      expect(stdout).not.toContain("commandline disabled");
      expect(stdout).toMatch(/Forwarding port/);
    });
  });

  it("is not asked for where an ssh in the user's PATH is older", async () => {
    await inDirectory(async (cwd) => {
      const bin = join(cwd, "bin");
      mkdirSync(bin);
      chownSync(bin, USER.uid, USER.gid);
      writeFileSync(join(bin, "ssh"), "#!/bin/sh\n# an ssh that does not have that word\n");
      chmodSync(join(bin, "ssh"), 0o755);
      const words = ["run", "-d", "--name", "escape-2", "--image", IMAGES.debian, "sleep", "300"];
      expect(await gangway(words, { cwd, env: { PATH: `${bin}:/usr/bin:/bin` } })).toMatchObject({ code: 0 });
      const other = join(USER.runtime, "gangway/escape-2");
      expect(readFileSync(join(other, "kit/ssh_config"), "utf8")).not.toContain("EnableEscapeCommandline");
      expect(existsSync(join(other, "kit/escape_config"))).toBe(false);
      await gangway(["stop", "--signal", "KILL", "escape-2"]);
    });
  });
});
