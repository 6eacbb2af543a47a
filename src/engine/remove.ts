import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../config/errors.ts";
import { inspectContainer, shortName } from "./containers.ts";
import { refusal } from "./failures.ts";
import type { Transport } from "./transport.ts";

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 200;
const PATIENCE_MS = 2000;

/** How long a removal may take in all. An engine under load takes seconds; one that cannot remove never does. */
const LIMIT_MS = 30_000;

/**
 * Kills and removes a container with its anonymous volumes, and returns when it is gone. One that is gone already, or that the
 * engine is removing by itself (AutoRemove), is no error.
 *
 * @throws EngineError when the engine still has it after 30 s
 */
export async function removeContainer(transport: Transport, id: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    const failure = await tryRemove(transport, id);
    if (failure === undefined || (await isGone(transport, id))) return;
    if (performance.now() > deadline) throw failure;
    // Docker says when the removal that is under way is over; asking again and again costs 10 ms and more.
    await (failure.status === 409
      ? Promise.race([untilRemoved(transport, id), sleep(PATIENCE_MS, undefined, { ref: false })])
      : sleep(wait));
  }
}

/** An engine that is busy removing answers questions about it with passing errors. */
async function isGone(transport: Transport, id: string): Promise<boolean> {
  try {
    return (await inspectContainer(transport, id)) === undefined;
  } catch (error) {
    if (error instanceof EngineError && error.status !== undefined) return false;
    throw error;
  }
}

async function untilRemoved(transport: Transport, id: string): Promise<void> {
  const path = `/containers/${encodeURIComponent(id)}/wait`;
  await transport
    .call({ method: "POST", path, query: { condition: "removed" }, action: "wait for a removal" }, [200, 404])
    // What went wrong shows when the removal is asked for again.
    .catch(() => undefined);
}

/** undefined: the engine says that it is gone. */
async function tryRemove(transport: Transport, id: string): Promise<EngineError | undefined> {
  const action = `remove container ${shortName(id)}`;
  const { status, body } = await transport.call(
    {
      method: "DELETE",
      path: `/containers/${encodeURIComponent(id)}`,
      query: { force: "1", v: "1" },
      action,
    },
    // 409: a removal is under way (Docker). 500: the same, and much else that passes (Podman).
    [200, 204, 404, 409, 500],
  );
  return status < 300 || status === 404 ? undefined : refusal(action, status, body);
}
