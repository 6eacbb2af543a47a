import { endedWell, type Starter, type StartNode } from "../rendezvous/starter.ts";

/** A host that cannot be reached must not hold up the launch's end for longer. */
const SWEEP_LIMIT_MS = 5000;

/**
 * Has `gangway gc` run on hosts whose process of a job is gone and has not said that nothing is left: where a manager killed
 * all of a step, the watchdog was killed with it.
 *
 * @param argv the program's words up to the command's name
 * @param engine the user's choice, where one was made
 * @returns whether it did all it was to do, in time and on all of them: a host that is down refuses at once
 */
export async function sweep(
  starter: Starter,
  nodes: readonly StartNode[],
  argv: readonly string[],
  engine: string | undefined,
): Promise<boolean> {
  const words = [...argv, "gc", ...(engine === undefined ? [] : ["--engine", engine])];
  const open = new Set(nodes.map(({ index }) => index));
  let failed = false;
  let limit: NodeJS.Timeout | undefined;
  const started = await new Promise<{ readonly stop: () => Promise<void> } | undefined>((resolve) => {
    try {
      const running = starter.start(
        { nodes, argv: words, env: process.env },
        {
          onFrame: () => undefined,
          onEnd: (ended, reason) => {
            for (const index of ended) open.delete(index);
            if (!endedWell(reason)) failed = true;
            if (open.size === 0) resolve(running);
          },
        },
      );
      limit = setTimeout(() => resolve(running), SWEEP_LIMIT_MS);
    } catch {
      // Words that cannot be handed on: an engine with a blank in its path.
      resolve(undefined);
    }
  });
  clearTimeout(limit);
  await started?.stop();
  return open.size === 0 && !failed;
}
