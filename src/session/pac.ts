import { isIP } from "node:net";
import { UsageError } from "../config/errors.ts";
import { quote } from "../config/where.ts";

/** A pattern of URLs, taken apart. What it leaves out, or says `*` for, is undefined: everything fits. */
export interface UrlPattern {
  /** `http` stands for ws too, `https` for wss: the same sites. */
  readonly scheme?: string;
  /** In lower case; `*` stands for any text, dots too. */
  readonly host: string;
  readonly port?: number;
  /** With the slash before it; `*` stands for any text. */
  readonly path?: string;
}

/** Where a browser finds the SOCKS proxy. */
export interface SocksAddress {
  /** An IPv6 address in brackets. */
  readonly host: string;
  readonly port: number;
}

const SCHEMES = ["http", "https", "ws", "wss", "ftp"];
const PATTERN_HINT = "write [SCHEME://]HOST[:PORT][/PATH], such as 'https://*.cluster/*'";

function bad(pattern: string, reason: string, hint = PATTERN_HINT): UsageError {
  return new UsageError(`pattern ${quote(pattern)}: ${reason}`, { hint });
}

/**
 * Reads `[SCHEME://]HOST[:PORT][/PATH]`, in which `*` stands for any text.
 *
 * @throws UsageError
 */
export function parseUrlPattern(text: string): UrlPattern {
  const [, scheme, host = "", port, path] =
    /^(?:([^:/]*):\/\/)?(\[[^\]/]*\]|[^:/[\]]*)(?::([^/]*))?(\/.*)?$/s.exec(text) ?? [];
  if (host === "") throw bad(text, "it names no host");
  if (scheme !== undefined && scheme !== "*" && !SCHEMES.includes(scheme.toLowerCase())) {
    throw bad(text, `${quote(scheme)} is no scheme that browsers ask proxies for`, `known are ${SCHEMES.join(", ")}`);
  }
  return {
    ...(scheme === undefined || scheme === "*" ? {} : { scheme: scheme.toLowerCase() }),
    host: checkHost(text, host).toLowerCase(),
    ...(port === undefined || port === "*" ? {} : { port: checkPort(port, (reason) => bad(text, reason)) }),
    ...(path === undefined || /^\/\**$/.test(path) ? {} : { path: checkPath(text, path) }),
  };
}

function checkHost(text: string, host: string): string {
  const [, address] = /^\[(.*)\]$/.exec(host) ?? [];
  if (address !== undefined) {
    if (isIP(address) === 6 && !address.includes("%")) return host;
    throw bad(text, `${quote(address)} is no IPv6 address`);
  }
  if (/^[A-Za-z0-9*_.-]{1,253}$/.test(host)) return host;
  const hint = "letters, digits, -, _, dots and * make a host's name; others go by their xn--… form";
  throw bad(text, `${quote(host)} is no name of hosts`, hint);
}

/** As a URL has it: what browsers hand over is percent-encoded. */
function checkPath(text: string, path: string): string {
  if (/^[\x21-\x7e]{1,4096}$/.test(path) && !path.includes("#")) return path;
  throw bad(text, "its path holds what no URL has", "write it percent-encoded, without a fragment");
}

function checkPort(text: string, error: (reason: string) => UsageError): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw error(`${quote(text)} is no port`);
}

/**
 * Reads `[HOST:]PORT`.
 *
 * @throws UsageError
 */
export function parseSocksAddress(text: string): SocksAddress {
  const error = (reason: string) =>
    new UsageError(`--socks: ${reason}`, { hint: "write HOST:PORT, such as localhost:7777" });
  const [, host = "localhost", port = ""] = /^(?:(\[[^\]]*\]|[^:]*):)?([^:]*)$/s.exec(text) ?? [];
  const address = /^\[(.*)\]$/.exec(host)?.[1];
  if (address === undefined ? !/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$/.test(host) : isIP(address) !== 6) {
    throw error(`${quote(text)} names no host`);
  }
  return { host, port: checkPort(port, error) };
}

/** What the user should know of a pattern that browsers cannot fulfil; undefined: nothing. */
export function noteOn({ scheme, host, path }: UrlPattern): string | undefined {
  if (/^(localhost|.*\.localhost|127\.[0-9.]+|\[::1\])$/.test(host)) {
    return `browsers ask no proxy for ${host}: use the node's own name`;
  }
  if (path === undefined) return undefined;
  if (scheme !== undefined && scheme !== "http") {
    return `the path ${path} counts for nothing: browsers tell only the host of ${scheme} addresses`;
  }
  return `the path ${path} counts for http alone, and in Firefox for nothing`;
}

const ENDS_AS_TOLD = /[.*+?^${}()|[\]\\/]/g;

/** The inside of a regular expression literal that matches a pattern's text: everything but `*` is itself. */
function expression(glob: string): string {
  return glob
    .split(/\*+/)
    .map((part) => part.replace(ENDS_AS_TOLD, "\\$&"))
    .join(".*");
}

function schemes(scheme: string): string {
  return scheme === "http" ? "http|ws" : scheme === "https" ? "https|wss" : scheme;
}

function condition({ scheme, host, port, path }: UrlPattern): string {
  const parts = [`/^${expression(host)}$/.test(host)`];
  if (scheme !== undefined) parts.unshift(`/^(${schemes(scheme)})$/.test(scheme)`);
  if (port !== undefined) parts.push(`port === "${port}"`);
  // Of other schemes the path is not told.
  if (path !== undefined) parts.push(`(scheme !== "http" || /^${expression(path)}$/.test(path))`);
  return parts.join(" && ");
}

/**
 * A proxy auto-configuration file: ECMAScript 3 without any helper function, since browsers' shExpMatch differ in what
 * they take for special. What fits no pattern goes to its host directly; what fits one never does, so that a name of
 * the job's is not looked for elsewhere.
 *
 * @param patterns of which one has to fit
 */
export function renderPac({ host, port }: SocksAddress, patterns: readonly UrlPattern[]): string {
  return `// Made by \`gangway pac\`.
function FindProxyForURL(url, ignored) {
  var parts = /^([a-z][a-z0-9+.-]*):\\/\\/(?:[^\\/?#@]*@)?(\\[[^\\]]*\\]|[^:\\/?#]*)(?::([0-9]+))?([\\/?][^#]*)?/i.exec(url);
  if (!parts) return "DIRECT";
  var scheme = parts[1].toLowerCase(), host = parts[2].toLowerCase().replace(/\\.$/, ""), path = parts[4] || "/";
  var usual = { http: "80", ws: "80", https: "443", wss: "443", ftp: "21" };
  var port = parts[3] || usual[scheme] || "";
${patterns.map((pattern) => `  if (${condition(pattern)}) return "SOCKS5 ${host}:${port}";\n`).join("")}  return "DIRECT";
}
`;
}
