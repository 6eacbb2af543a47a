import { type EndpointSources, resolveEndpoint } from "./endpoint.ts";
import type { Endpoint } from "./types.ts";

/** What {@link resolveForeignEndpoint} chooses from. */
export interface ForeignSources extends EndpointSources {
  /** The caller's, for `~/.docker`. */
  readonly home: string;
}

/**
 * Decides which engine is meant, as for a launch (`resolveEndpoint`); here it may also be one that is reached over TLS.
 *
 * @throws EngineError when what was named is no engine's address, or its certificates are wrong
 */
export async function resolveForeignEndpoint(sources: ForeignSources): Promise<Endpoint> {
  const named: [string | undefined, string][] = [
    [sources.flag, "flag"],
    [sources.env.DOCKER_HOST, "DOCKER_HOST"],
    [sources.configured, "config"],
  ];
  const first = named.find(([value]) => value !== undefined && value !== "");
  if (first?.[0]?.startsWith("tcp://") !== true) return resolveEndpoint(sources);
  const { resolveTlsEndpoint } = await import("./tls-endpoint.ts");
  return resolveTlsEndpoint(first[0], first[1], sources);
}
