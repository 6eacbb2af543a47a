import { closeSync, openSync, readSync } from "node:fs";
import { isIPv4 } from "node:net";
import { endianness, networkInterfaces } from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { monotonicMs } from "../config/clock.ts";
import { groupsOf, plainAddress } from "./source.ts";

/** One end of a TCP connection. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** A TCP connection as this process has it. */
export interface Ends {
  readonly remote: Endpoint;
  readonly local: Endpoint;
}

/** A table of this network namespace's sockets (proc_net_tcp of the kernel's documentation). */
interface Table {
  readonly path: string;
  /** An end as the table has it: addresses are words of 32 bits in the machine's byte order. */
  readonly write: (end: Endpoint) => string | undefined;
}

/** A socket for IPv6 stands in the second even where it speaks IPv4. */
const TABLES: readonly Table[] = [
  { path: "/proc/self/net/tcp", write: short },
  { path: "/proc/self/net/tcp6", write: long },
];

/** Bytes of a table that are read at a time: a millisecond or two, so that others have their turn in between. */
const PIECE = 64 * 1024;

/** An address that is taken from this host, or given to it, is noticed within so long. */
const ADDRESSES_FRESH_MS = 1000;

/** Knows which connections come from this host itself. */
export class Neighbourhood {
  #addresses: ReadonlySet<string> = new Set();
  #readAt = Number.NEGATIVE_INFINITY;

  /** Whether the other end is an address of this host, so that its socket may be in our network namespace. */
  has({ remote, local }: Ends): boolean {
    const address = plainAddress(remote.address);
    if (address.startsWith("127.") || address === "::1" || address === plainAddress(local.address)) return true;
    const now = monotonicMs();
    // Asking takes long where there are many interfaces, and thousands of nodes come at a time.
    if (now - this.#readAt > ADDRESSES_FRESH_MS) {
      this.#readAt = now;
      this.#addresses = new Set(
        Object.values(networkInterfaces()).flatMap((own) => own?.map((one) => one.address) ?? []),
      );
    }
    return this.#addresses.has(address);
  }
}

/** What a look at the tables has found. */
export interface Look {
  /** For each connection, in order, whether it is a stranger's. */
  readonly strangers: readonly boolean[];
  /** CPU time that it took, milliseconds. */
  readonly cpuMs: number;
}

/**
 * Which of these connections come from a socket of this network namespace that is neither root's nor one of `uid`. One that
 * nobody holds any more (its process has closed it) counts as such. Where the tables cannot be read, there are none.
 */
export async function lookUp(connections: readonly Ends[], uid: number): Promise<Look> {
  const strangers = connections.map(() => false);
  const left = new Set(connections.keys());
  let cpuMs = 0;
  // The kernel goes through all of its places for sockets for each table, also where that has few rows.
  for (const table of TABLES) {
    const wanted = new Map<string, number>();
    for (const index of left) {
      const ends = connections[index];
      const [remote, local] = [ends && table.write(ends.remote), ends && table.write(ends.local)];
      if (remote !== undefined && local !== undefined) wanted.set(`${remote} ${local}`, index);
    }
    if (wanted.size === 0) continue;
    const [length = 0] = [...wanted.keys()].map((ends) => ends.length);
    cpuMs += await readTable(table.path, (lines) => {
      for (const row of rows(lines, length, wanted)) {
        const index = wanted.get(row.ends);
        if (index === undefined) continue;
        strangers[index] = row.inode === 0 || (row.owner !== uid && row.owner !== 0);
        left.delete(index);
      }
    });
  }
  return { strangers, cpuMs };
}

interface Row {
  /** The socket's own end and the other, as the table has them. */
  readonly ends: string;
  readonly owner: number;
  /** 0: no process has it. */
  readonly inode: number;
}

/** Behind the two ends. */
const REST = /^ [0-9A-F]{2} \S+ \S+ \S+ +(\d+) +\d+ (\d+)/;

/** The rows that are asked for; of the others nothing is taken apart. */
function rows(lines: string, length: number, wanted: ReadonlyMap<string, unknown>): Row[] {
  const found: Row[] = [];
  for (const line of lines.split("\n")) {
    const at = line.indexOf(": ") + 2;
    const ends = line.slice(at, at + length);
    if (!wanted.has(ends)) continue;
    const rest = REST.exec(line.slice(at + length));
    if (rest !== null) found.push({ ends, owner: Number(rest[1]), inode: Number(rest[2]) });
  }
  return found;
}

/**
 * Reads a table, some of its lines at a time; in between others have their turn.
 *
 * @param onLines given whole lines
 * @returns the CPU time that it took, milliseconds
 */
async function readTable(path: string, onLines: (lines: string) => void): Promise<number> {
  let table: number;
  try {
    table = openSync(path, "r");
  } catch {
    return 0;
  }
  let cpuMs = 0;
  try {
    const piece = Buffer.allocUnsafe(PIECE);
    for (let kept = 0; ; await turn()) {
      const began = process.cpuUsage();
      const filled = fill(table, piece, kept);
      const end = filled < piece.length ? filled : piece.lastIndexOf("\n") + 1;
      onLines(piece.toString("latin1", 0, end));
      const { user, system } = process.cpuUsage(began);
      cpuMs += (user + system) / 1000;
      if (filled < piece.length || end === 0) return cpuMs;
      piece.copyWithin(0, end, filled);
      kept = filled - end;
    }
  } finally {
    closeSync(table);
  }
}

/** Not by Node's threads: the kernel gives a page at a time, and to wake one for each takes longer than reading it. */
function fill(file: number, into: Buffer, from: number): number {
  let filled = from;
  try {
    for (let read = 1; read > 0 && filled < into.length; filled += read) {
      read = readSync(file, into, filled, into.length - filled, null);
    }
  } catch {
    // What was read counts.
  }
  return filled;
}

/** As in the table for IPv4; undefined for what is no such address. */
function short(end: Endpoint): string | undefined {
  const plain = plainAddress(end.address);
  return isIPv4(plain) ? `${word(plain.split(".").map(Number))}:${hex(end.port, 4)}` : undefined;
}

/** As in the table for IPv6, an IPv4 address in its mapped form. */
function long(end: Endpoint): string {
  const plain = plainAddress(end.address);
  const groups = groupsOf(isIPv4(plain) ? `0:0:0:0:0:ffff:${plain}` : plain).map((group) => Number.parseInt(group, 16));
  const bytes = groups.flatMap((group) => [group >> 8, group & 255]);
  const words = [0, 4, 8, 12].map((at) => word(bytes.slice(at, at + 4)));
  return `${words.join("")}:${hex(end.port, 4)}`;
}

function word(bytes: readonly number[]): string {
  const ordered = endianness() === "LE" ? bytes.toReversed() : bytes;
  return ordered.map((byte) => hex(byte, 2)).join("");
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
