import type { TLSSocket } from "node:tls";

/** What a connection is, as its first line says. */
export type FirstLine =
  | { readonly kind: "kept"; readonly protocol: number }
  | { readonly kind: "stream"; readonly name: string };

/** Of kept connections; said both ways. */
export const CHANNEL_PROTOCOL = 1;
const LONGEST = 256;
const STREAM_NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** @throws RangeError for the name of a stream that is not of letters, digits and `-` */
export function formatFirstLine(line: FirstLine): string {
  if (line.kind === "stream" && !STREAM_NAME.test(line.name)) {
    throw new RangeError(`${JSON.stringify(line.name)} is no name of a stream`);
  }
  return `${JSON.stringify(line)}\n`;
}

/** Undefined for whatever {@link formatFirstLine} does not write. */
export function parseFirstLine(line: string): FirstLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("kind" in value)) return undefined;
  if (value.kind === "kept" && "protocol" in value && Number.isInteger(value.protocol)) {
    return { kind: "kept", protocol: Number(value.protocol) };
  }
  if (value.kind === "stream" && "name" in value && typeof value.name === "string" && STREAM_NAME.test(value.name)) {
    return { kind: "stream", name: value.name };
  }
  return undefined;
}

/**
 * Reads the first line of a connection, and leaves it paused.
 *
 * @returns the line, undefined where it is none that is known, and the bytes that came behind it
 * @throws Error when the connection ends before
 */
export function readFirstLine(socket: TLSSocket): Promise<{ line: FirstLine | undefined; early: Buffer }> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = () => {
      socket.off("data", take);
      socket.off("end", ended);
      socket.off("close", ended);
      socket.off("error", reject);
    };
    const ended = () => {
      settle();
      reject(new Error("the connection was closed"));
    };
    const take = (chunk: Buffer) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\n");
      if (end === -1 && bytes.length <= LONGEST) return;
      socket.pause();
      settle();
      const line = end === -1 || end > LONGEST ? undefined : parseFirstLine(bytes.toString("utf8", 0, end));
      resolve({ line, early: Buffer.from(bytes.subarray(end + 1)) });
    };
    socket.on("data", take);
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("error", reject);
  });
}
