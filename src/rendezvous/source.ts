import { isIPv4 } from "node:net";

/** What all addresses by which a host speaks to itself count as. */
const LOOPBACK = "loopback";

/** An IPv4 address that an IPv6 socket shows in its mapped form, in its own; without a zone. */
export function plainAddress(address: string): string {
  const [bare = ""] = address.split("%", 1);
  const mapped = /^::ffff:([\d.]+)$/i.exec(bare)?.[1];
  return mapped ?? bare;
}

/**
 * Whom a connection is counted against: one who has many addresses counts once. All of 127/8 and `::1` are one source;
 * of IPv6 it is the first 64 bits, which is what a host is given to choose from (RFC 4291, 2.5.1).
 */
export function sourceOf(address: string): string {
  const plain = plainAddress(address);
  if (isIPv4(plain)) return plain.startsWith("127.") ? LOOPBACK : plain;
  if (plain === "::1") return LOOPBACK;
  return plain.includes(":") ? groupsOf(plain).slice(0, 4).join(":") : plain;
}

/** The eight groups of an IPv6 address without a zone, as numbers in hexadecimal without leading zeros (RFC 4291, 2.2). */
export function groupsOf(address: string): string[] {
  const [before = "", after] = withoutDots(address).split("::", 2);
  const head = split(before);
  const tail = after === undefined ? [] : split(after);
  return [...head, ...Array<string>(Math.max(0, 8 - head.length - tail.length)).fill("0"), ...tail];
}

function split(groups: string): string[] {
  return groups === "" ? [] : groups.split(":").map((group) => Number.parseInt(group, 16).toString(16));
}

/** Its last 32 bits may be written as an IPv4 address. */
function withoutDots(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
}
