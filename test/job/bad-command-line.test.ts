import { afterAll, beforeAll, describe, test } from "vitest";
import { complains } from "./complaint.ts";
import { DOCKER, gangway, IMAGES, PODMAN, ROOTLESS } from "./harness.ts";
import { Traces } from "./traces.ts";

let traces: Traces[];

beforeAll(async () => {
  traces = await Promise.all([DOCKER, PODMAN, ROOTLESS].map((engine) => Traces.watch(engine)));
});

afterAll(async () => {
  for (const each of traces) await each.gone();
  for (const each of traces) each.close();
});

describe("the command line", () => {
  test.each<[string[], string | RegExp, string | RegExp]>([
    [[], "no image was named", "--image IMAGE"],
    [["--nodes", "0"], "--nodes 0", "number"],
    [["--nodes", "257"], "--nodes 257: one engine takes 1 to 256", "number"],
    [["--nodes", "x"], "--nodes x: not a whole number", "digits"],
    [["--nodes", "-1"], "--nodes -1", "digits"],
    [["--nodes", "3", "--network", "none"], "3 nodes cannot reach each other with --network none", "one node"],
    [["--nodes", "3", "--no-listen"], "3 nodes cannot reach each other with no TCP port", "one node"],
    [["--nodes", "2", "--network", "host", "--port", "5000"], "only one can have port 5000", "leave --port out"],
    [["--name", "a b"], '"a b" cannot be the id of a job', "letters, digits"],
    [["--name", ""], '"" cannot be the id of a job', "letters, digits"],
    [["--name", "../x"], '"../x" cannot be the id of a job', "letters, digits"],
    [["--name", "a.b"], '"a.b" cannot be the id of a job', "letters, digits"],
    [["--name", "n".repeat(64)], "cannot be the id of a job", "letters, digits"],
    [["--env", "=x"], '"=x" cannot be set', "NAME=value"],
    [["--env-file", "/nobody/made/this"], "--env-file /nobody/made/this", "file"],
    [["--workdir", "relative"], "--workdir relative: not an absolute path", "/"],
    [["--tmpfs", "relative"], "--tmpfs relative: not an absolute path", "/"],
    [["--volume", "/tmp"], '--volume: "/tmp"', "SOURCE:TARGET"],
    [["--volume", "/tmp:relative"], "--volume", /\S/],
    [["--volume", "/tmp:/x:nonsense"], "--volume", /\S/],
    [["--volume", "/tmp:/"], "--volume", /\S/],
    [["-v", "/tmp:/x", "-v", "/usr:/x"], "/x is given twice", "one of them"],
    [["--pull", "sometimes"], '--pull: "sometimes"', "missing, always, never"],
    [["--port", "99999"], "--port: 99999", "65535"],
    [["--port", "x"], "--port", "number"],
    [["--listen", "300.1.1.1"], '--listen: "300.1.1.1"', "IP address"],
    [["--linger", "always"], '--linger: "always"', "sessions"],
    [["--slots", "0"], "--slots: 0", "1"],
    [["--cpus", "0"], "--cpus: 0", "0.01"],
    [["--cpus", "many"], "--cpus", "number"],
    [["--cpuset-cpus", "3-1"], "--cpuset-cpus", /\S/],
    [["--memory", "lots"], '--memory: "lots"', "512m"],
    [["--shm-size", "1x"], '--shm-size: "1x"', "512m"],
    [["--pids-limit", "0"], "--pids-limit: 0", "1"],
    [["--ulimit", "nofil=1"], 'no ulimit "nofil"', "nofile"],
    [["--ulimit", "nofile=5:2"], "--ulimit", /\S/],
    [["--gpus", "-5"], "--gpus", /\S/],
    [["--device", "sda"], "--device", "/"],
    [["--cgroup-parent", "a/../b"], "--cgroup-parent", /\S/],
    [["--time-limit", "0"], "--time-limit", "longer"],
    [["--time-limit", "soon"], '--time-limit: "soon"', "1h30m"],
    [["--prepare-timeout", "1x"], "--prepare-timeout", "30s"],
    [["--up-timeout", "0"], "--up-timeout", "longer"],
    [["--membership-timeout", "-1"], "--membership-timeout", /\S/],
    [["--max-connections", "0"], "--max-connections: 0", "1"],
    [["--max-per-source", "x"], "--max-per-source", "number"],
    [["--shell", "bash"], "--shell", "/"],
    [["--engine", "tcp://host:1"], "--engine", "unix://"],
    [["--udi-image", "relative"], "--udi-image", "/"],
    [["--network", "a b"], "--network", /\S/],
    [["--output", "x"], "--output belongs to --detach", "redirect"],
    [["--tty"], "--tty: standard input and output are no terminal", "leave --tty out"],
    [["--memry", "1g"], "unknown option '--memry'", "did you mean --memory?"],
    [["--nonsense"], "unknown option '--nonsense'", "gangway run --help"],
    [["--image"], "option '-i, --image <IMAGE>' argument missing", "gangway run --help"],
  ])("gangway run %j", async (words, says, next) => {
    const image = words.length === 0 || words.includes("--image") ? [] : ["--image", IMAGES.bare];
    const result = await gangway(["run", ...image, ...words, ...(words.includes("--image") ? [] : ["--", "true"])]);
    complains(result, { says, next });
  });

  test.each<[string[], string | RegExp, string | RegExp]>([
    [["rnu"], 'there is no command "rnu"', "did you mean run?"],
    [["nothing-like-it"], 'there is no command "nothing-like-it"', "gangway --help"],
    [["--nonsense"], 'there is no option "--nonsense"', "gangway --help"],
    [["constructor"], 'there is no command "constructor"', /\S/],
    [["ps", "extra"], "too many arguments", "gangway ps --help"],
    [["ps", "--jsn"], "unknown option '--jsn'", "--json"],
    [["wait"], "missing required argument 'job'", "gangway wait --help"],
    [["wait", "nobody"], 'no job "nobody" is running', "gangway ps"],
    [["wait", "../x"], '"../x" cannot be the id of a job', "letters"],
    [["logs", "nobody"], 'no job "nobody" is known', "gangway ps"],
    [["stop"], "missing required argument 'job'", "gangway stop --help"],
    [["stop", "nobody"], 'no job "nobody" is running on this host', /\S/],
    [["stop", "x", "--signal", "NONSENSE"], "--signal NONSENSE: there is no such signal", /\S/],
    [["stop", "x", "--grace", "long"], "--grace long: not a number of seconds", /\S/],
    [["inspect", "nobody"], 'no job "nobody" is running on this host', /\S/],
    [["hosts", "nobody"], 'no job "nobody" is running on this host', /\S/],
    [["config", "sho"], "unknown command 'sho'", "show"],
  ])("gangway %j", async (words, says, next) => {
    complains(await gangway(words), { says, next });
  });

  test.each<[string[], string | RegExp, string | RegExp]>([
    [["key"], "gangway key", "gangway key --help"],
    [["key", "revoke", "x"], "missing required argument 'key'", "gangway key --help"],
    [["key", "authorize", "x", "--fro", "8h"], "unknown option '--fro'", "--for"],
    [["proxy"], "missing required argument 'host'", "gangway proxy --help"],
    [["proxy", "--conect", "tcp", "x"], "unknown option '--conect'", "--connect"],
    [["ssh"], "which job?", "gangway ssh [SSH OPTION…] JOB"],
    [["ssh", "--user", "root", "x"], "only root can act for another user", "leave it out"],
    [["shell", "a b"], '"a b" is no job', "JOB.NODE"],
    [["shell", "job", "ls", "x"], '"ls x": a command stands behind --', "gangway shell job -- ls x"],
    [["shell", "--tyt"], "unknown option '--tyt'", "--tty"],
    [["ssh-config", "--instal"], "unknown option '--instal'", "--install"],
    [["ssh-config", "extra"], "too many arguments", "gangway ssh-config --help"],
    [["doctor", "x", "y"], "too many arguments", "gangway doctor --help"],
  ])("gangway %j, which reaches for a job: 64", async (words, says, next) => {
    complains(await gangway(words), { says, next, code: 64 });
  });

  test.each(["ssh", "shell"])("gangway %s, of a job that nobody knows: 68", async (command) => {
    complains(await gangway([command, "nobody"]), { says: 'there is no job "nobody"', next: /\S/, code: 68 });
  });
});
