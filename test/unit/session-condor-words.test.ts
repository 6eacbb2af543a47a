import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/config/errors.ts";
import { launchesOf, launchOf } from "../../src/session/condor-launch.ts";
import { CONDOR_USAGE, parseCondorTarget, parseCondorWords } from "../../src/session/condor-words.ts";

const NOTHING = {
  help: false,
  place: { schedd: undefined, pool: undefined },
  shells: [],
  autoRetry: false,
  removeOnInterrupt: false,
  x11: false,
  rest: [],
};
const JOB = { cluster: 32, proc: 0, node: undefined };

describe("the words of condor_ssh_to_job", () => {
  it.each<[string[], object]>([
    [["32"], { target: JOB }],
    [["32.1"], { target: { ...JOB, proc: 1 } }],
    [["32.1.7"], { target: { ...JOB, proc: 1, node: 7 } }],
    [["32", "-debug", "-ssh", "x"], { target: JOB, rest: ["-debug", "-ssh", "x"] }],
    [["-debug", "32"], { target: JOB, debug: "" }],
    [["-debug:D_FULLDEBUG", "32"], { target: JOB, debug: "D_FULLDEBUG" }],
    [["-d:1", "-a", "-r", "32"], { target: JOB, debug: "1", autoRetry: true, removeOnInterrupt: true }],
    [["-n", "s@h", "-p", "cm", "32"], { target: JOB, place: { schedd: "s@h", pool: "cm" } }],
    [["-s", "sftp", "32"], { target: JOB, client: { program: "sftp", name: "sftp", words: [] } }],
    [["-ssh", "scp -o 'A b'", "32"], { target: JOB, client: { program: "scp", name: "scp", words: ["-o", "A b"] } }],
    [["-sh", "/bin/zsh, /bin/bash", "32"], { target: JOB, shells: ["/bin/zsh", "/bin/bash"] }],
    [["-X", "32"], { target: JOB, x11: true }],
    [["-X", "-x", "32"], { target: JOB }],
    [["-k", "-t ed25519 -b 256", "32"], { target: JOB }],
    [["--", "32", "--", "w"], { target: JOB, rest: ["--", "w"] }],
    [["-l", "ada", "32.0", "rsync", "--server"], { target: JOB, login: "ada", rest: ["rsync", "--server"] }],
    [["-help"], { help: true }],
    [["-h", "-foo"], { help: true }],
    [["-auto", "-help", "32"], { help: true, autoRetry: true }],
  ])("%j", (words, expected) => {
    const { rest, ...read } = parseCondorWords(words);
    expect(read.help ? { ...read, rest: [] } : { ...read, rest }).toEqual({ ...NOTHING, ...expected });
  });

  it.each<[string[], string]>([
    [[], "ERROR: You must specify a job!"],
    [["-auto-retry"], "ERROR: You must specify a job!"],
    [["--"], "ERROR: You must specify a job!"],
    [["x.y"], "Invalid job id: x.y"],
    [["32."], "Invalid job id: 32."],
    [["32.0.0.0"], "Invalid job id: 32.0.0.0"],
    [["--", "-32"], "Invalid job id: -32"],
    [["-foo", "32"], "Unrecognized argument: -foo"],
    [["-", "32"], "Unrecognized argument: -"],
    [["--help"], "Unrecognized argument: --help"],
    [["-helper"], "Unrecognized argument: -helper"],
    [["-name:x", "32"], "Unrecognized argument: -name:x"],
    [["-XX", "32"], "Unrecognized argument: -XX"],
    [["-ssh"], "-ssh requires an argument"],
    [["-sh"], "-sh requires an argument"],
    [["-pool"], "-pool requires an argument"],
  ])("%j is wrong, in HTCondor's words: %s", (words, message) => {
    expect(() => parseCondorWords(words)).toThrow(expect.objectContaining({ message, exitCode: CONDOR_USAGE }));
  });

  it.each<string[]>([
    ["-name", "-pool", "32"],
    ["-pool", "a b", "32"],
    ["-name", "", "32"],
    ["-ssh", "", "32"],
    ["-ssh", "rsync -a", "32"],
    ["-ssh", "scp 'x", "32"],
    ["-shells", "bash", "32"],
    ["-shells", "/bin/a\nb,/bin/b", "32"],
    ["-keygen-options", "-t rsa", "32"],
    ["-keygen-options", "-f /etc/passwd", "32"],
    ["-keygen-options", "-b", "32"],
  ])("%s %j cannot be done, which is said", (...words) => {
    expect(() => parseCondorWords(words)).toThrow(expect.objectContaining({ exitCode: CONDOR_USAGE }));
  });

  it("are read, or refused in words, whatever they are", () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom("-s", "-k", "-d:", "-l", "--", "32", "32.0", "-X", "-n", "-shells", "-t ed25519"),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (words) => {
        try {
          const { help, target } = parseCondorWords(words);
          expect(help || target !== undefined).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          expect(error).toMatchObject({ exitCode: CONDOR_USAGE });
        }
      }),
    );
  });

  it("an option is meant by each of its beginnings, the first in HTCondor's order by the shared ones", () => {
    const options = ["-help", "-debug", "-auto-retry", "-remove-on-interrupt"];
    for (const option of options) {
      for (let length = 2; length <= option.length; length++) {
        expect(parseCondorWords([option.slice(0, length), "1"])).toEqual(parseCondorWords([option, "1"]));
      }
    }
  });
});

describe("a job's launches", () => {
  it.each<[string[], string]>([
    [[], "32.0"],
    [["32.0"], "32.0"],
    [["32.1", "132.0", "32.0.1", "32.0x", "32.00"], "32.0"],
    [["32.0-r1"], "32.0-r1"],
    [["32.0", "32.0-r1", "32.0-r10", "32.0-r2"], "32.0-r10"],
    [["32.0-2", "32.0"], "32.0"],
    [["32.0-r1-3", "32.0-r1-2", "32.0"], "32.0-r1-2"],
  ])("of %j the one of the latest run: %s", (launches, expected) => {
    expect(launchOf(parseCondorTarget("32"), launches)).toBe(expected);
  });

  it("are all that have its number, the latest first", () => {
    const launches = ["32.0", "32.1", "32.0-2", "32.0-r1-2", "32.0-r1", "132.0"];
    expect(launchesOf(parseCondorTarget("32"), launches)).toEqual(["32.0-r1", "32.0-r1-2", "32.0", "32.0-2"]);
  });
});
