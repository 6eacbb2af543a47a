import { startEach } from "./each.ts";
import { checkPlainWords, type Started, type Starter } from "./starter.ts";

/**
 * The user's own ssh, whose configuration says how each host is reached; only what would keep this from working, or is not
 * wanted with it, is overruled.
 */
const OPTIONS = [
  // Nobody can answer a question.
  ...["-o", "BatchMode=yes"],
  // A login that offers an agent, a display or a port to the node is not meant here.
  ...["-o", "ClearAllForwardings=yes", "-a", "-x", "-T"],
  ...["-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"],
  // A master that is there serves; but this must not become one that outlives the launch.
  ...["-o", "ControlMaster=no"],
  ...["-o", "ConnectTimeout=30"],
];

/** For hosts named by hand, and managers without a launcher of their own. */
export const ssh: Starter = {
  title: "ssh",
  start({ nodes, argv, env }, events) {
    checkPlainWords(argv);
    const names = new Map(nodes.map(({ index, name }) => [index, name]));
    const started: Started = startEach(nodes, ({ name }) => ["ssh", ...OPTIONS, "--", name, ...argv], env, {
      ...events,
      onEnd(ended, reason) {
        for (const index of ended)
          events.onEnd([index], reason, hintFor(names.get(index) ?? "HOST", reason, started.about(index)));
      },
    });
    return started;
  },
};

/** What ssh itself failed by, by its own words, in the order in which it gets there. */
const FAILURES: readonly (readonly [RegExp, (host: string) => string])[] = [
  [
    /Could not resolve hostname/i,
    (host) => `is the name right? (getent hosts ${host}; or a Host of your ~/.ssh/config)`,
  ],
  [
    /Host key verification failed|HOST IDENTIFICATION HAS CHANGED/i,
    (host) =>
      `nobody can be asked whether the host's key is right: look at it once by hand (ssh ${host}), or let known_hosts have it`,
  ],
  [
    /Permission denied|Too many authentication failures/i,
    (host) =>
      `nobody can be asked for a password: let your key be accepted there (ssh-copy-id ${host}), or load it into an agent`,
  ],
  [
    /Connection refused|Connection timed out|No route to host|Network is unreachable|Operation timed out/i,
    (host) => `is the host up, with an sshd that listens for you? (ssh ${host} true)`,
  ],
];

/** ssh's status for a failure of its own (ssh(1)); every other is that of what it ran there. */
const SSH_FAILED = "ssh ended with status 255";
/** A shell's, for a program that is not there, or cannot be run. */
const NO_PROGRAM = ["ssh ended with status 127", "ssh ended with status 126"];

function hintFor(host: string, reason: string, about = ""): string | undefined {
  if (NO_PROGRAM.includes(reason))
    return "install Gangway there at the same path, or name its path there: setting nodeProgram";
  if (reason !== SSH_FAILED) return undefined;
  const known = FAILURES.find(([pattern]) => pattern.test(about));
  return known?.[1](host) ?? `ssh failed, not Gangway: try it by hand (ssh -o BatchMode=yes ${host} true)`;
}
