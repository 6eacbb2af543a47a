import { EngineError } from "../config/errors.ts";

/** An image's name taken apart, with what may be left out filled in as Docker does. */
export interface Reference {
  /** "docker.io" where none was named. */
  readonly registry: string;
  /** Without the registry: "library/debian". */
  readonly repository: string;
  /** All but tag and digest, as it was written: what engines want in `fromImage`. */
  readonly name: string;
  /** A tag or, where the image is named by it, its digest ("sha256:…"). */
  readonly tag: string;
}

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const REGISTRY = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;

const DOCKER_HUB = "docker.io";

/**
 * Takes an image's name apart (grammar: distribution/reference; the first component is a registry if it could be a host's
 * name with a dot or port, or is "localhost").
 *
 * @throws EngineError when it is none
 */
export function parseReference(reference: string): Reference {
  const [named = "", digest, ...more] = reference.split("@");
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  const name = tagged ? named.slice(0, colon) : named;
  const tag = tagged ? named.slice(colon + 1) : "latest";
  const { registry, repository } = splitName(name);
  const valid =
    more.length === 0 &&
    repository.split("/").every((component) => COMPONENT.test(component)) &&
    REGISTRY.test(registry) &&
    TAG.test(tag) &&
    (digest === undefined || DIGEST.test(digest));
  if (!valid) {
    throw new EngineError(`"${reference}" is no name of an image`, {
      hint: "write [REGISTRY/]NAME[:TAG], in lower case, as in registry.example.org/group/app:1.2",
    });
  }
  return { registry, repository, name, tag: digest ?? tag };
}

function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  if (first.includes(".") || first.includes(":") || first === "localhost") {
    const registry = first === "index.docker.io" ? DOCKER_HUB : first;
    return { registry, repository: withLibrary(registry, name.slice(slash + 1)) };
  }
  return { registry: DOCKER_HUB, repository: withLibrary(DOCKER_HUB, name) };
}

/** Images of Docker Hub that belong to nobody lie below "library". */
function withLibrary(registry: string, repository: string): string {
  return registry === DOCKER_HUB && !repository.includes("/") ? `library/${repository}` : repository;
}
