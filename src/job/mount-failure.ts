import { EngineError, GangwayError } from "../config/errors.ts";
import type { MountSpec } from "../engine/types.ts";

const REASONS: readonly (readonly [RegExp, string, string])[] = [
  [
    /permission denied|operation not permitted/i,
    "may not enter it, only its owner can: its file system maps root to nobody, or is FUSE without allow_root",
    "leave it out (--no-mount-home, --no-mount-workdir), mount it with allow_root, or try your own rootless Podman with crun",
  ],
  [
    /does not exist|no such file or directory/i,
    "has none by that name: the job has mounts of its own, and it lies in one of these",
    "use a directory that the whole host sees",
  ],
  [
    /transport endpoint is not connected|input\/output error|stale (nfs )?file handle/i,
    "cannot read it: its file system does not answer",
    "mount that file system anew",
  ],
];

/**
 * An engine's refusal of a mount, in words that say what to do. What the job's user could reach before the launch was
 * looked at then: it is the engine that cannot.
 *
 * @param mounts of the user's files
 * @returns the error itself, where it is about something else
 */
export function explained(error: unknown, mounts: readonly MountSpec[]): unknown {
  if (!(error instanceof EngineError) || !/mount|bind source|statfs/i.test(error.message)) return error;
  const mount = mounts.find(({ source, engineSource }) => names(error.message, engineSource ?? source));
  const reason = REASONS.find(([pattern]) => pattern.test(error.message));
  if (mount === undefined || reason === undefined) return error;
  const [, fault, hint] = reason;
  return new GangwayError(`${mount.source} cannot be mounted: the engine ${fault}`, { hint, cause: error });
}

/** Whether a message has a path, and not only one that begins with it. */
function names(message: string, path: string): boolean {
  const at = message.indexOf(path);
  return at >= 0 && !/[\w.-]/.test(message.charAt(at + path.length));
}
