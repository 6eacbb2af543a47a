import { readFileSync, statSync } from "node:fs";
import { EngineError, reasonOf } from "../config/errors.ts";
import type { Endpoint } from "./types.ts";

/** An engine's own words for a refusal, in one line. Docker has `message`; Podman `message`, `cause` and `response`. */
export function messageIn(body: Buffer): string {
  const text = body.toString("utf8").trim();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "message" in parsed && typeof parsed.message === "string") {
      return oneLine(parsed.message);
    }
  } catch {
    // Some of Podman's errors are plain text.
  }
  return oneLine(text);
}

/** Line breaks and runs of blanks made one blank, so that an error stays one line. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/**
 * An answer that refuses, as an error.
 *
 * @param action what was asked for, to follow "could not": `create container "x"`
 * @param hint the next step, where one is known
 */
export function refusal(action: string, status: number, body: Buffer, hint?: string): EngineError {
  const said = messageIn(body) || `HTTP status ${status}`;
  const known = hint ?? hintFor(said);
  return new EngineError(`the engine could not ${action}: ${said}`, {
    status,
    ...(known === undefined ? {} : { hint: known }),
  });
}

/** What helps against refusals that engines word in a way that does not say it. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/setting rlimits?\b|error setting rlimit/, "ask for a limit that is not above the engine's own (--ulimit)"],
  [/no space left on device/i, "free some space where the engine keeps its containers"],
  [/must be in range 0-2147483647/, "engines know user and group ids up to 2147483647 only"],
  [/could not select device driver/, "the engine has no GPU support: install the vendor's container toolkit"],
  [/\/dev\/net\/tun|rootless netns|slirp4netns/, "this rootless engine cannot make networks here: use --network host"],
  [/invalid reference format/, "write it as NAME[:TAG], such as debian:12; names are in small letters"],
  [/Minimum memory limit|unable to set memory limit/i, "give it more (--memory)"],
  [/range of CPUs|requested (CPUs|memory nodes) are not available/i, "ask for what this machine has"],
  [
    /network \S+ not found|unable to find network|network not found/i,
    "name a network that the engine has, or leave --network out",
  ],
  [/gathering device information|stat .*: no such device|stat \/dev\//i, "name a device that this host has (--device)"],
  [/tmpfs option|mount option/i, "options of --tmpfs are such as size=64m,mode=1777"],
  [/rootless containers? (with|and|on) cgroups? ?v?1/i, "ask an administrator for cgroup v2, or use another engine"],
];

function hintFor(message: string): string | undefined {
  return HINTS.find(([pattern]) => pattern.test(message))?.[1];
}

function originOf(endpoint: Endpoint): string {
  return endpoint.origin === "default"
    ? ""
    : ` (named by ${endpoint.origin === "flag" ? "the command line" : endpoint.origin})`;
}

/** The group that a socket belongs to, for who wonders why it is closed: `group "docker"`. */
function groupOf(path: string): string | undefined {
  try {
    const { gid, mode } = statSync(path);
    if ((mode & 0o060) !== 0o060) return undefined;
    const line = readFileSync("/etc/group", "utf8")
      .split("\n")
      .find((entry) => entry.split(":")[2] === String(gid));
    return line === undefined ? `group ${gid}` : `group "${line.split(":")[0]}"`;
  } catch {
    return undefined;
  }
}

const OTHER_ENGINE = "or name another engine with DOCKER_HOST";
const START_ENGINE = `start the engine (for your own Podman: systemctl --user start podman.socket), ${OTHER_ENGINE}`;
/** This host has no engine where one usually is, and nobody said that there is one. */
export class NoEngineError extends EngineError {}

/** Nobody told us of this host's engine: it may be one that has none. */
const IN_A_JOB =
  "; where only the hosts of jobs have one, as from a login node: in a job (salloc, sbatch, condor_submit), and what runs is in squeue or condor_q";

/**
 * A connection that failed, as an error that says what is wrong with the engine.
 *
 * @param action what was asked for, to follow "could not"
 */
export function connectionFailure(endpoint: Endpoint, action: string, error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const where = `${endpoint.socketPath}${originOf(endpoint)}`;
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    return new EngineError(
      `the engine at ${where} does not accept the client's certificate: ${oneLine(reasonOf(error))}`,
      {
        hint: "cert.pem in DOCKER_CERT_PATH must be of an authority that the engine was given (dockerd --tlscacert)",
        cause: error,
      },
    );
  }
  switch (code) {
    case "ENOENT": {
      const unnamed = endpoint.origin === "default";
      const hint = unnamed ? `${START_ENGINE}${IN_A_JOB}` : START_ENGINE;
      const Failure = unnamed ? NoEngineError : EngineError;
      return new Failure(`no container engine: the socket ${where} does not exist`, { hint, cause: error });
    }
    case "EACCES":
    case "EPERM": {
      const group = groupOf(endpoint.socketPath);
      return new EngineError(`no permission on the engine's socket ${where}`, {
        hint:
          group === undefined
            ? `it is open to its owner alone: use your own rootless Podman, ${OTHER_ENGINE}`
            : `it is open to ${group}, of which you are no member: use your own rootless Podman, ${OTHER_ENGINE}`,
        cause: error,
      });
    }
    case "ECONNREFUSED":
      return new EngineError(`the container engine is down: nobody listens on ${where}`, {
        hint: `start the engine, ${OTHER_ENGINE}`,
        cause: error,
      });
    case "ENOTSOCK":
    case "ENOTDIR":
      return new EngineError(`${where} is no socket`, { hint: `correct the path, ${OTHER_ENGINE}`, cause: error });
    case "CERT_HAS_EXPIRED":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return new EngineError(`who answers at ${where} is not the engine: ${oneLine(reasonOf(error))}`, {
        hint: "nothing was sent there; ca.pem in DOCKER_CERT_PATH must be of who signed the engine's certificate",
        cause: error,
      });
    default:
      return new EngineError(`the engine at ${where} broke off: could not ${action}: ${oneLine(reasonOf(error))}`, {
        hint: "look into the engine's own log; it may have been restarted",
        cause: error,
      });
  }
}
