import { dirname, join, normalize, resolve } from "node:path/posix";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Header } from "tar-stream";
import { EngineError, reasonOf } from "../config/errors.ts";
import { oneLine } from "./failures.ts";

/** What an archive says of a path. Targets of links are absolute, and normalised as text only. */
export type ArchiveEntry =
  | { readonly kind: "file"; readonly content: Buffer; readonly mode: number }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "none" };

/** No file that is read from an image is larger; an image is not trusted to keep its /etc/passwd small. */
const FILE_LIMIT_BYTES = 16 * 1024 * 1024;

/** Docker's archives have the type of file in the mode as well. */
const PERMISSIONS = 0o7777;

/**
 * Reads an engine's archive of a path: of a directory all below it, of anything else that alone.
 *
 * @param source the archive as it arrives
 * @param path what was asked for; what the archive begins with is that
 * @param wanted whether an absolute path's content is to be kept
 * @returns files that are wanted, and links, by absolute path
 * @throws EngineError when the archive is damaged, cut short, or a wanted file is larger than 16 MiB
 */
export async function readArchive(
  source: AsyncIterable<Buffer>,
  path: string,
  wanted: (path: string) => boolean,
): Promise<Map<string, ArchiveEntry>> {
  const entries = new Map<string, ArchiveEntry>();
  const extraction = extract();
  // Entries are named from the path's last component on ("etc/passwd"); where that is a link, Podman has its target's.
  let top: string | undefined;
  const absolute = (name: string): string => {
    const bare = normalize(name).replace(/^\/+|\/+$/g, "");
    top ??= bare;
    return bare === top ? path : join(path, bare.slice(top.length));
  };
  extraction.on("entry", (header, stream, next) => {
    const name = absolute(header.name);
    stream.on("error", next);
    stream.on("end", next);
    const entry = entryOf(header, name, absolute);
    if (entry !== undefined) entries.set(name, entry);
    if (header.type !== "file" || !(wanted(name) || name === path)) {
      stream.resume();
      return;
    }
    if ((header.size ?? 0) > FILE_LIMIT_BYTES) {
      extraction.destroy(new Error(`${name} is larger than ${FILE_LIMIT_BYTES} bytes`));
      return;
    }
    const chunks: Buffer[] = [];
    stream.on("data", (chunk) => chunks.push(chunk as Buffer));
    stream.on("end", () => {
      entries.set(name, { kind: "file", content: Buffer.concat(chunks), mode: (header.mode ?? 0) & PERMISSIONS });
    });
  });
  try {
    await pipeline(Readable.from(source), extraction);
  } catch (error) {
    throw new EngineError(`could not read ${path} of an image: ${oneLine(reasonOf(error))}`, { cause: error });
  }
  return entries;
}

/** Links; files get their entry when their content is there. */
function entryOf(header: Header, name: string, absolute: (name: string) => string): ArchiveEntry | undefined {
  const target = header.linkname;
  if (target === undefined || target === null || target === "") return undefined;
  // A hard link names another entry of the archive; a symbolic one a path seen from where it lies.
  if (header.type === "link") return { kind: "link", target: absolute(target) };
  if (header.type === "symlink") return { kind: "link", target: resolve("/", dirname(name), target) };
  return undefined;
}
