import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GangwayError, STATUS } from "../../src/config/errors.ts";
import { splitWords } from "../../src/session/client-words.ts";
import { clientArguments, parseClient, takeConfigFile } from "../../src/session/clients.ts";
import { parseSshWords } from "../../src/session/ssh-words.ts";

describe("a command that is written as one text", () => {
  it.each<[string, string[]]>([
    ["scp -r", ["scp", "-r"]],
    ["  scp\t-r\n", ["scp", "-r"]],
    ["'a b' \"c  d\"", ["a b", "c  d"]],
    [`a'b c'"d 'e'"f`, ["ab cd 'e'f"]],
    ["''", [""]],
    ["$HOME `id` \\n ; * ~ #x", ["$HOME", "`id`", "\\n", ";", "*", "~", "#x"]],
    ["", []],
  ])("%j", (text, words) => {
    expect(splitWords(text, "--ssh")).toEqual(words);
  });

  it.each<[string, string[]]>([
    ["ssh -v 'a b'", ["ssh", "-v", "a b"]],
    ["'it''s'", ["it's"]],
    ['say "hi there"', ["say", '"hi', 'there"']],
    ["x'y'z", ["xyz"]],
  ])("in HTCondor's way: %j", (text, words) => {
    expect(splitWords(text, "-ssh", "htcondor")).toEqual(words);
  });

  it.each(["'", '"', "a 'b", "a\0b"])("%j is wrong", (text) => {
    expect(() => splitWords(text, "--ssh")).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
  });

  const words = fc.array(fc.string({ unit: "binary" }).filter((word) => !word.includes("\0")));
  const doubled = (word: string) => `'${word.replaceAll("'", "''")}'`;
  const mixed = (word: string) =>
    word === ""
      ? "''"
      : (word.match(/[^']+|'+/g) ?? []).map((part) => (part[0] === "'" ? `"${part}"` : `'${part}'`)).join("");

  it("gives back whatever was quoted", () => {
    fc.assert(
      fc.property(words, fc.constantFrom(" ", "\t ", "\n"), (list, blank) => {
        expect(splitWords(list.map(mixed).join(blank), "x")).toEqual(list);
        expect(splitWords(list.map(doubled).join(blank), "x", "htcondor")).toEqual(list);
      }),
    );
  });

  it("is taken apart as a shell does it, where there is nothing else of a shell's", () => {
    const text = fc.stringMatching(/^[a-z '"]{0,12}$/);
    fc.assert(
      fc.property(fc.array(text, { maxLength: 3 }), (parts) => {
        const command = parts.join(" ");
        const shell = spawnSync("sh", ["-c", `printf '%s\\0' x ${command}`], { encoding: "utf8" });
        let own: string[] | undefined;
        try {
          own = splitWords(command, "x");
        } catch (error) {
          expect(error).toBeInstanceOf(GangwayError);
        }
        expect(own).toEqual(shell.status === 0 ? shell.stdout.split("\0").slice(1, -1) : undefined);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a client program", () => {
  const entry = { configFile: "/c", host: "n.j.job" };
  const argumentsOf = (command: string, rest: string[], options: string[] = []) =>
    clientArguments(parseClient(command, "--ssh"), entry, options, rest, "7.n2");

  it.each<[string, string[], string[]]>([
    ["sftp", [], ["-F", "/c", "n.j.job"]],
    ["sftp -q", ["-b", "batch"], ["-F", "/c", "-q", "-b", "batch", "n.j.job"]],
    ["sftp", ["remote:out"], ["-F", "/c", "remote:out"]],
    ["sftp", ["sftp://remote/out"], ["-F", "/c", "sftp://remote/out"]],
    ["scp -r", ["remote:out", "."], ["-F", "/c", "-r", "remote:out", "."]],
    ["/usr/bin/scp", ["-p", "a", "me@remote:b"], ["-F", "/c", "-p", "a", "me@remote:b"]],
    ["sshfs", ["remote:/x", "/mnt"], ["-F", "/c", "remote:/x", "/mnt"]],
    ["sshfs", ["7.n2:/x", "/mnt"], ["-F", "/c", "7.n2:/x", "/mnt"]],
    ["sftp", ["me@7.n2:out"], ["-F", "/c", "me@7.n2:out"]],
    ["sftp", ["sftp://7.n2/out"], ["-F", "/c", "sftp://7.n2/out"]],
    ["other", ["7.n2", "7xn2:out"], ["-F", "/c", "n.j.job", "7.n2", "7xn2:out"]],
    ["autossh -M 0", [], ["-F", "/c", "-M", "0", "n.j.job"]],
    ["sftp", ["--", "x"], ["-F", "/c", "--", "n.j.job", "x"]],
  ])("%s %j", (command, rest, expected) => {
    expect(argumentsOf(command, rest)).toEqual(expected);
  });

  it("has options of gangway ssh's that mean the same to it, and no others", () => {
    expect(argumentsOf("sftp", [], ["-v", "-o", "A=-t", "-i", "-t"])).toEqual([
      "-F",
      "/c",
      "-v",
      "-o",
      "A=-t",
      "-i",
      "-t",
      "n.j.job",
    ]);
    for (const option of ["-t", "-l", "-L", "-X", "-p"]) {
      expect(() => argumentsOf("scp", [], [option, "x"])).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
    }
  });

  it.each(["", " ", "''", "/usr/bin/", "rsync", "/usr/bin/rsync -av", "'scp"])("%j is none", (text) => {
    expect(() => parseClient(text, "--ssh")).toThrow(expect.objectContaining({ exitCode: STATUS.usage }));
  });

  it("is rsync the other way round, as is said", () => {
    expect(() => parseClient("rsync -a", "--ssh")).toThrow(
      expect.objectContaining({ hint: "rsync -av -e 'gangway ssh' JOB:out/ ." }),
    );
  });

  it.each<[string, string[], string[], string | undefined]>([
    ["scp", ["-F", "mine", "a", "b"], ["a", "b"], "mine"],
    ["scp", ["-rFmine", "a"], ["-r", "a"], "mine"],
    ["scp", ["-o", "-F", "x", "-F"], ["-o", "-F", "x", "-F"], undefined],
    ["sftp", ["-b", "-", "-F", "mine"], ["-b", "-"], "mine"],
    ["scp", ["a", "-F", "b"], ["a", "-F", "b"], undefined],
    ["other", ["-F", "x"], ["-F", "x"], undefined],
  ])("%s %j: a configuration of the user's is read behind the job's", (name, words, left, configFile) => {
    expect(takeConfigFile(name, words)).toEqual({ words: left, ...(configFile === undefined ? {} : { configFile }) });
  });

  it("has its own letters taken apart as scp and sftp do", () => {
    const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"];
    for (const name of ["scp", "sftp"]) {
      const valued = letters.filter((letter) =>
        spawnSync(name, [`-${letter}`], { encoding: "utf8" }).stderr.includes("requires an argument"),
      );
      const ours = letters.filter((letter) => takeConfigFile(name, [`-${letter}`, "-F", "x"]).configFile === undefined);
      // -F itself takes "-F". What an older client lacks it refuses itself.
      expect(valued.filter((letter) => letter !== "F" && !ours.includes(letter))).toEqual([]);
    }
  });
});

describe("gangway ssh with a client", () => {
  it("leaves all behind the job to it", () => {
    expect(parseSshWords(["--ssh", "scp -r", "-v", "32.0", "-p", "--user", "remote:a", "."])).toMatchObject({
      target: "32.0",
      options: ["-v"],
      command: ["-p", "--user", "remote:a", "."],
      client: { program: "scp", words: ["-r"] },
    });
    expect(parseSshWords(["--ssh=sftp", "32", "-F", "mine"])).toMatchObject({ command: [], configFile: "mine" });
  });

  it("that is ssh is as without", () => {
    expect(parseSshWords(["--ssh", "ssh -v -F mine", "32", "-t", "top"])).toEqual({
      options: ["-t", "-v"],
      configFile: "mine",
      target: "32",
      command: ["top"],
      autoRetry: false,
      help: false,
    });
    expect(parseSshWords(["--ssh", "/opt/ssh", "32"]).client).toMatchObject({ program: "/opt/ssh" });
    expect(() => parseSshWords(["--ssh", "ssh host", "32"])).toThrow(
      expect.objectContaining({ exitCode: STATUS.usage }),
    );
  });

  it("knows whose job it is by -l as by USER@, the first counts", () => {
    expect(parseSshWords(["-l", "me", "32.0"])).toMatchObject({ target: "32.0", login: "me", options: [] });
    expect(parseSshWords(["-l", "me", "you@32.0", "rsync", "--server"])).toMatchObject({
      login: "me",
      command: ["rsync", "--server"],
    });
  });
});
