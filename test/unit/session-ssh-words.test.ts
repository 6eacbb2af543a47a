import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { parseSshWords } from "../../src/session/ssh-words.ts";

const NOTHING = { options: [], command: [], autoRetry: false, help: false };

describe("the words of gangway ssh", () => {
  it.each<[string[], object]>([
    [["1234"], { target: "1234" }],
    [["1234", "ls", "-l"], { target: "1234", command: ["ls", "-l"] }],
    [["-tt", "1234"], { target: "1234", options: ["-t", "-t"] }],
    [["-NL", "8080:localhost:80", "1234"], { target: "1234", options: ["-N", "-L", "8080:localhost:80"] }],
    [["-L8080:localhost:80", "1234"], { target: "1234", options: ["-L", "8080:localhost:80"] }],
    [["-o", "A=b", "1234", "-T", "x"], { target: "1234", options: ["-o", "A=b", "-T"], command: ["x"] }],
    [["1234", "--", "-x"], { target: "1234", command: ["-x"] }],
    [["--", "1234", "-x"], { target: "1234", command: ["-x"] }],
    [["-vF", "file", "1234"], { target: "1234", options: ["-v"], configFile: "file" }],
    [["--auto-retry", "--connect", "tcp", "1234"], { target: "1234", autoRetry: true, connect: "tcp" }],
    [["--via=login", "1234", "--user", "me", "w"], { target: "1234", via: "login", user: "me", command: ["w"] }],
    [["1234", "x", "--via", "y"], { target: "1234", command: ["x", "--via", "y"] }],
    [["-o", "--", "1234"], { target: "1234", options: ["-o", "--"] }],
    [["-V"], { options: ["-V"] }],
  ])("%j", (words, expected) => {
    expect(parseSshWords(words)).toEqual({ ...NOTHING, ...expected });
  });

  it.each([[["-Z", "1"]], [["-o"]], [["--via"]], [["--vía", "1"]], [["--auto-retry=x", "1"]], [["1", "-L"]]])(
    "%j is wrong",
    (words) => {
      expect(() => parseSshWords(words)).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
    },
  );

  it("knows of each letter what ssh itself knows", () => {
    const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"];
    const without = letters.filter((letter) => {
      const { stderr } = spawnSync("ssh", [`-${letter}`], { encoding: "utf8" });
      return stderr.includes("requires an argument");
    });
    const ours = letters.filter((letter) => {
      try {
        return parseSshWords([`-${letter}`, "argument"]).target === undefined;
      } catch {
        return false;
      }
    });
    // -P is of 9.6 and later: an older ssh says so itself.
    expect(ours.filter((letter) => letter !== "P")).toEqual(without.filter((letter) => letter !== "P"));
  });

  it("what is given back means the same again", () => {
    const option = fc.constantFrom(["-t"], ["-v"], ["-N"], ["-L", "1:h:2"], ["-o", "A b"], ["-vt"], ["-oX=y"]);
    const word = fc.stringMatching(/^[a-z0-9=:. ]{1,8}$/);
    fc.assert(
      fc.property(fc.array(option), word, fc.array(word), (options, target, command) => {
        const once = parseSshWords([...options.flat(), target, ...command]);
        expect(parseSshWords([...once.options, "--", target, ...once.command])).toEqual(once);
      }),
    );
  });
});
