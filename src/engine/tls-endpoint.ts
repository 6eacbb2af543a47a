import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect } from "node:tls";
import { EngineError, reasonOf, systemReasonOf } from "../config/errors.ts";
import type { ForeignSources } from "./foreign-endpoint.ts";
import type { Endpoint } from "./types.ts";

/** What Docker's own client takes where the address names none. */
const DEFAULT_PORT = 2376;

/**
 * An engine that is reached over TLS, both sides with a certificate: `ca.pem`, `cert.pem` and `key.pem` of
 * `DOCKER_CERT_PATH`, else `~/.docker`, as Docker's own client has them. The engine's certificate is always verified,
 * whatever DOCKER_TLS_VERIFY says: who speaks to an engine has root on it, and so has whoever stands between.
 *
 * @param address `tcp://HOST[:PORT]`
 * @param origin who named it
 * @throws EngineError
 */
export function resolveTlsEndpoint(address: string, origin: string, { env, home }: ForeignSources): Endpoint {
  const { host, port } = parseAddress(address, origin);
  const given = env.DOCKER_CERT_PATH ?? "";
  if (given === "" && (env.DOCKER_TLS_VERIFY ?? "") === "") {
    throw new EngineError(`${origin} is "${address}", and without TLS no engine is spoken to over a network`, {
      hint: "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem",
    });
  }
  const directory = given === "" ? join(home, ".docker") : given;
  const options: ConnectionOptions = {
    host,
    port,
    ca: readPem(directory, "ca.pem", (text) => new X509Certificate(text)),
    cert: readPem(directory, "cert.pem", (text) => new X509Certificate(text)),
    key: readPem(directory, "key.pem", (text) => createPrivateKey(text)),
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    // Not a name of the environment's: the one that was named.
    ...(isIP(host) === 0 ? { servername: host } : {}),
  };
  return { socketPath: address, origin, dial: () => connect(options).setNoDelay(true) };
}

function parseAddress(address: string, origin: string): { host: string; port: number } {
  const match = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new EngineError(`${origin} is "${address}", which is no address of an engine`, {
    hint: `write it as tcp://HOST:PORT; the port is ${DEFAULT_PORT} where none is given`,
  });
}

/** @param parse throws for what is not of the form */
function readPem(directory: string, name: string, parse: (text: string) => unknown): string {
  const path = join(directory, name);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new EngineError(`the engine is reached over TLS, and ${path} cannot be read: ${systemReasonOf(error)}`, {
      hint: "set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem",
      cause: error,
    });
  }
  try {
    parse(text);
  } catch (error) {
    throw new EngineError(`${path} is not what its name says: ${reasonOf(error)}`, { cause: error });
  }
  return text;
}
