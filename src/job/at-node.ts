import { GangwayError, LaunchError, reasonOf } from "../config/errors.ts";

/** An error of one node, with its name; those that name it already stay as they are. */
export function atNode(node: string, error: unknown): LaunchError {
  if (error instanceof LaunchError) return error;
  if (!(error instanceof GangwayError)) return new LaunchError(node, reasonOf(error), { cause: error });
  return new LaunchError(node, error.message, {
    cause: error,
    exitCode: error.exitCode,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
