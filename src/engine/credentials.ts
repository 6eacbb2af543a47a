import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../config/errors.ts";
import { type HelperRunner, runHelper } from "./credential-helper.ts";
import { type JsonObject, object, text } from "./json.ts";
import type { Reference } from "./reference.ts";

/** What the engine hands to the registry: the JSON behind the header X-Registry-Auth. */
export type Credentials =
  | { readonly username: string; readonly password: string; readonly serveraddress: string }
  | { readonly identitytoken: string; readonly serveraddress: string }
  | { readonly registrytoken: string; readonly serveraddress: string };

/** What Docker calls Docker Hub in its configuration, and in talks with credential helpers. */
const HUB_KEY = "https://index.docker.io/v1/";

/** Helpers answer so where a login with a token, not a password, was made. */
const TOKEN_USER = "<token>";

/**
 * The caller's own credentials for an image's registry, as `docker login` or `podman login` left them.
 *
 * @param env names the places; HOME among them
 * @param helper runs `docker-credential-NAME get`
 * @returns undefined: none are kept; the registry may not ask for any
 * @throws EngineError when a file that exists cannot be understood, or a helper fails
 */
export async function findCredentials(
  reference: Reference,
  env: NodeJS.ProcessEnv,
  helper: HelperRunner = runHelper,
): Promise<Credentials | undefined> {
  for (const file of credentialFiles(env)) {
    const config = readConfig(file);
    const found = config === undefined ? undefined : await findIn(config, reference, helper);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * In the order of containers-auth.json(5), which ends with Docker's own file. One that is named stands in for the usual
 * ones of its kind.
 */
export function credentialFiles(env: NodeJS.ProcessEnv): string[] {
  const home = env.HOME || homedir();
  const named = env.REGISTRY_AUTH_FILE;
  const runtime = env.XDG_RUNTIME_DIR;
  const configHome = env.XDG_CONFIG_HOME || join(home, ".config");
  const containers = [
    ...(runtime ? [join(runtime, "containers/auth.json")] : []),
    join(configHome, "containers/auth.json"),
  ];
  return [...(named ? [named] : containers), join(env.DOCKER_CONFIG || join(home, ".docker"), "config.json")];
}

function readConfig(file: string): JsonObject | undefined {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch {
    // Missing, or not ours to read: then there is nothing of the caller's in it.
    return undefined;
  }
  try {
    return object(JSON.parse(content));
  } catch {
    // Without the parser's own words, which quote what is around the place.
    throw new EngineError(`${file}, which keeps registry credentials, is no JSON`, {
      hint: "correct it, or log in again",
    });
  }
}

async function findIn(
  config: JsonObject,
  reference: Reference,
  helper: HelperRunner,
): Promise<Credentials | undefined> {
  const server = serverOf(reference);
  const helpers = object(config.credHelpers);
  const keys = keysFor(reference);
  const own = Object.entries(helpers).find(([key]) => keys.includes(normalizeKey(key)));
  const program = text(own?.[1]) || text(config.credsStore);
  if (program !== "") {
    const answer = await helper(program, server);
    if (answer !== undefined) return fromHelper(answer, server);
  }
  const auths = Object.entries(object(config.auths));
  for (const key of keys) {
    const entry = auths.find(([name]) => normalizeKey(name) === key);
    const found = entry === undefined ? undefined : fromEntry(object(entry[1]), server);
    if (found !== undefined) return found;
  }
  return undefined;
}

function serverOf({ registry }: Reference): string {
  return registry === "docker.io" ? HUB_KEY : registry;
}

/** Under what an image's credentials may be kept, the most special first: Podman's files know namespaces. */
function keysFor({ registry, repository }: Reference): string[] {
  const parts = repository.split("/");
  const paths = parts.map((_part, index) => [registry, ...parts.slice(0, parts.length - index)].join("/"));
  return [...paths, registry];
}

/** Docker keeps some registries as URLs ("https://host/v1/"), and Docker Hub under its old name. */
function normalizeKey(key: string): string {
  const bare = key
    .replace(/^https?:\/\//, "")
    .replace(/\/+$/, "")
    .replace(/\/v[12]$/, "");
  return bare === "index.docker.io" || bare === "registry-1.docker.io" ? "docker.io" : bare;
}

function fromHelper({ username, secret }: { username: string; secret: string }, serveraddress: string): Credentials {
  if (username === TOKEN_USER) return { identitytoken: secret, serveraddress };
  return { username, password: secret, serveraddress };
}

function fromEntry(entry: JsonObject, serveraddress: string): Credentials | undefined {
  const identitytoken = text(entry.identitytoken);
  if (identitytoken !== "") return { identitytoken, serveraddress };
  const registrytoken = text(entry.registrytoken);
  if (registrytoken !== "") return { registrytoken, serveraddress };
  // Docker ends some of these with NUL bytes.
  const decoded = Buffer.from(text(entry.auth), "base64").toString("utf8").replace(/\0+$/, "");
  const colon = decoded.indexOf(":");
  if (colon > 0) return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1), serveraddress };
  const username = text(entry.username);
  return username === "" ? undefined : { username, password: text(entry.password), serveraddress };
}
