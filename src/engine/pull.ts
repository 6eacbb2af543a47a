import Docker from "dockerode";
import { EngineError, reasonOf } from "../config/errors.ts";
import { type Credentials, findCredentials } from "./credentials.ts";
import { connectionFailure, oneLine } from "./failures.ts";
import { number, object, text } from "./json.ts";
import { parseReference, type Reference } from "./reference.ts";
import type { Endpoint, PullProgress } from "./types.ts";

/**
 * Has the engine pull an image, with the caller's own credentials for its registry.
 *
 * @param env where the credentials are looked for
 * @param signal drops the connection, upon which the engine gives up too
 * @throws EngineError with the registry's or engine's reason; the signal's own reason when that stopped it
 */
export async function pullImage(
  endpoint: Endpoint,
  image: string,
  env: NodeJS.ProcessEnv,
  onProgress: (progress: PullProgress) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const reference = parseReference(image);
  const credentials = await findCredentials(reference, env);
  try {
    const stream = await requestPull(endpoint, reference, credentials, signal);
    const destroy = (): unknown => stream.destroy();
    signal?.addEventListener("abort", destroy, { once: true });
    try {
      await followProgress(stream, image, credentials !== undefined, onProgress);
    } finally {
      signal?.removeEventListener("abort", destroy);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw pullFailure(endpoint, image, credentials !== undefined, error);
  }
}

type PullStream = AsyncIterable<Buffer | string> & { destroy(): unknown };

async function requestPull(
  endpoint: Endpoint,
  { name, tag }: Reference,
  credentials: Credentials | undefined,
  signal: AbortSignal | undefined,
): Promise<PullStream> {
  // host and port are named since DOCKER_HOST=tcp://… would otherwise win over the socket's path; protocol as well.
  const docker = new Docker({ socketPath: endpoint.socketPath, host: undefined, port: undefined, protocol: "http" });
  // A tag is always sent: without one Docker pulls all the repository has.
  const options = { fromImage: name, tag, ...(signal === undefined ? {} : { abortSignal: signal }) };
  const stream = await (credentials === undefined
    ? docker.createImage(options)
    : docker.createImage(credentials, options));
  return stream as unknown as PullStream;
}

/** Reads the progress, a JSON object a line, to its end: failures come in it, after status 200. */
async function followProgress(
  stream: PullStream,
  image: string,
  withCredentials: boolean,
  onProgress: (progress: PullProgress) => void,
): Promise<void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + (typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }))).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) readLine(line, image, withCredentials, onProgress);
  }
  readLine(rest, image, withCredentials, onProgress);
}

function readLine(
  line: string,
  image: string,
  withCredentials: boolean,
  onProgress: (progress: PullProgress) => void,
): void {
  if (line.trim() === "") return;
  const event = object(JSON.parse(line));
  const error = text(object(event.errorDetail).message) || text(event.error);
  if (error !== "") throw refusedPull(image, error, withCredentials);
  const detail = object(event.progressDetail);
  const status = text(event.status) || text(event.stream).trim();
  if (status === "") return;
  onProgress({
    layer: text(event.id),
    status,
    ...("current" in detail ? { current: number(detail.current) } : {}),
    ...("total" in detail ? { total: number(detail.total) } : {}),
  });
}

function refusedPull(image: string, reason: string, withCredentials: boolean, status?: number): EngineError {
  return new EngineError(`could not pull image "${image}": ${oneLine(reason)}`, {
    hint: pullHint(reason, withCredentials),
    ...(status === undefined ? {} : { status }),
  });
}

function pullHint(reason: string, withCredentials: boolean): string {
  if (/no such host|timeout|refused|unreachable|TLS|certificate|server gave HTTP response/i.test(reason)) {
    return "the engine cannot reach the registry: check its name, and the engine's network and proxy";
  }
  if (/unauthorized|authentication|denied|no basic auth|\b40[13]\b/i.test(reason)) {
    return withCredentials
      ? "the registry does not take your credentials for it, or has no such image: log in again, and check its name"
      : "you are not logged in to its registry (docker login, podman login), or it has no such image";
  }
  if (/not found|manifest unknown|name unknown|\b404\b/i.test(reason)) return "check its name and tag";
  return "look into the engine's log";
}

function pullFailure(endpoint: Endpoint, image: string, withCredentials: boolean, error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const { statusCode, json } = error as { statusCode?: number; json?: unknown };
  if (statusCode === undefined) return connectionFailure(endpoint, `pull image "${image}"`, error);
  // docker-modem words it "(HTTP code 500) server error - REASON ".
  const reason = text(object(json).message) || reasonOf(error).replace(/^\(HTTP code \d+\) [^-]*- /, "");
  return refusedPull(image, reason, withCredentials, statusCode);
}
