import { setTimeout as sleep } from "node:timers/promises";
import { monotonicMs } from "../config/clock.ts";
import { EngineError } from "../config/errors.ts";
import { inspectContainer, shortName } from "./containers.ts";
import { refusal } from "./failures.ts";
import { object } from "./json.ts";
import type { Call, Transport } from "./transport.ts";

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 200;
const PATIENCE_MS = 2000;

/** How long a removal may take in all. An engine under load takes seconds; one that cannot remove never does. */
const LIMIT_MS = 30_000;

/**
 * Kills and removes a container with its anonymous volumes, and returns when it is gone. One that is gone already, or that the
 * engine is removing by itself (AutoRemove), is no error.
 *
 * @param ending it is about to end and to be removed by itself: the engine is not to be kept from it by a second removal,
 *   which costs it a kill of what is gone and finds the first one in its way
 * @throws EngineError when the engine still has it after 30 s
 */
export async function removeContainer(transport: Transport, id: string, ending = false): Promise<void> {
  const deadline = monotonicMs() + LIMIT_MS;
  if (ending && (await isRemovedSoon(transport, id))) return;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    const failure = await tryRemove(transport, id);
    if (failure === undefined) return;
    // Docker says when the removal that is under way is over; asking again and again costs 10 ms and more.
    const gone = failure.status === 409 ? isRemovedSoon(transport, id) : isGone(transport, id);
    if (await gone) return;
    if (monotonicMs() > deadline) throw failure;
    await sleep(wait);
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

/** As {@link isRemoved}, but not for ever. */
async function isRemovedSoon(transport: Transport, id: string): Promise<boolean> {
  return await Promise.race([isRemoved(transport, id), sleep(PATIENCE_MS, false, { ref: false })]);
}

/** Waits until the removal that is under way is over; whether the container is gone then. */
async function isRemoved(transport: Transport, id: string): Promise<boolean> {
  const path = `/containers/${encodeURIComponent(id)}/wait`;
  try {
    const request: Call = { method: "POST", path, query: { condition: "removed" }, action: "wait for a removal" };
    const { status, value } = await transport.json(request, [200, 404]);
    // A removal that failed has an Error; newer engines leave an empty one out.
    return status === 404 || (object(value).Error ?? null) === null;
  } catch {
    // What went wrong shows when the removal is asked for again.
    return false;
  }
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
