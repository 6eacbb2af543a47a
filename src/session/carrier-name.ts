import { STATUS, UsageError } from "../config/errors.ts";
import { quoted } from "../udi/names.ts";

/** A host that ssh reaches and on which the job's node runs. */
export interface Carrier {
  /** As for ssh: a name of the user's ~/.ssh/config, `user@name`. */
  readonly host: string;
  /** Absolute path of the ssh that goes there: the user's own, with the user's own configuration. */
  readonly ssh: string;
  /** Another way may be tried instead: what ssh says where it does not get there goes with the error ({@link UnreachedError}). */
  readonly held?: boolean;
}

/**
 * Checks a carrier's name before it becomes an argument of ssh and a word of a ProxyCommand.
 *
 * @throws UsageError (exit status 64)
 */
export function checkCarrier(host: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.@+:[\]-]{0,253}$/.test(host)) return host;
  throw new UsageError(`--via ${quoted(host)}: this is no host`, {
    hint: "write it as for ssh: HOST, USER@HOST, or a name of your ~/.ssh/config",
    exitCode: STATUS.usage,
  });
}
