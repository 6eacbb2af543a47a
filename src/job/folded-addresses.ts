import { foldCounts } from "../allocation/counts.ts";
import { isAddress } from "../udi/names.ts";
import { packRows, unpackRows } from "./packed-rows.ts";
import { ProtocolError } from "./shape.ts";

/*
 * The addresses of ten thousand nodes in few words: a run of IPv4 addresses that follow each other is its first and
 * their number (`10.0.1.7+250`). Where runs do not help, since the nodes' order is none of their addresses', all of them
 * packed where that is shorter: behind `4=` four bytes each, behind `6=` sixteen.
 */

/** So much stays readable. */
const SHORT = 1000;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;
const PORT_BYTES = 2;

/** An IPv4 address as a number; undefined for any other. */
function numberOf(address: string): number | undefined {
  if (!address.includes(".") || address.includes(":")) return undefined;
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function addressOf(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

/** @param addresses of IPv4 or IPv6, in order */
export function foldAddresses(addresses: readonly string[]): string {
  const runs = foldRuns(addresses);
  if (runs.length <= SHORT) return runs;
  const packed = packIpv4(addresses) ?? packIpv6(addresses);
  return packed !== undefined && packed.length < runs.length ? packed : runs;
}

function foldRuns(addresses: readonly string[]): string {
  const runs: string[] = [];
  let start = 0;
  let length = 0;
  let first = "";
  const finish = () => {
    if (length > 0) runs.push(length === 1 ? first : `${first}+${length}`);
  };
  for (const address of addresses) {
    const number = numberOf(address);
    if (number !== undefined && length > 0 && number === start + length) {
      length++;
      continue;
    }
    finish();
    first = address;
    length = 1;
    start = number ?? Number.NEGATIVE_INFINITY;
  }
  finish();
  return runs.join(",");
}

function packIpv4(addresses: readonly string[]): string | undefined {
  const rows: Buffer[] = [];
  for (const address of addresses) {
    const number = numberOf(address);
    if (number === undefined) return undefined;
    const row = Buffer.alloc(IPV4_BYTES);
    row.writeUInt32BE(number);
    rows.push(row);
  }
  return `4=${packRows(rows, IPV4_BYTES)}`;
}

/** Undefined where one of them would come back written in another way: certificates name them as they are written. */
function packIpv6(addresses: readonly string[]): string | undefined {
  const rows: Buffer[] = [];
  for (const address of addresses) {
    const row = ipv6Bytes(address);
    if (row === undefined || ipv6Text(row) !== address) return undefined;
    rows.push(row);
  }
  return `6=${packRows(rows, IPV6_BYTES)}`;
}

function ipv6Bytes(address: string): Buffer | undefined {
  if (!isAddress(address) || address.includes(".")) return undefined;
  const [before = [], after = []] = address.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  return Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
}

/** As RFC 5952 has it, and the kernel's own library. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/**
 * The inverse of {@link foldAddresses}.
 *
 * @param count how many there must be
 * @throws ProtocolError for anything else
 */
export function unfoldAddresses(folded: string, count: number): string[] {
  if (folded.startsWith("4=")) return unpackRows(folded.slice(2), IPV4_BYTES, count).map((row) => row.join("."));
  if (folded.startsWith("6=")) return unpackRows(folded.slice(2), IPV6_BYTES, count).map(ipv6Text);
  const addresses: string[] = [];
  for (const run of folded.split(",")) {
    for (const address of unfoldRun(run, count - addresses.length)) addresses.push(address);
  }
  if (addresses.length !== count) throw new ProtocolError(`${addresses.length} addresses for ${count} nodes`);
  return addresses;
}

/** @param most that there is room for: checked before anything is made of it */
function unfoldRun(run: string, most: number): string[] {
  const [address = "", length, ...more] = run.split("+");
  if (!isAddress(address) || more.length > 0) throw new ProtocolError("an address that is none");
  if (length === undefined) return [address];
  const first = numberOf(address);
  const count = /^[1-9]\d{0,7}$/.test(length) ? Number(length) : 0;
  if (first === undefined || count === 0 || first + count > 2 ** 32) {
    throw new ProtocolError("a run of addresses that is none");
  }
  if (count > most) throw new ProtocolError("more addresses than nodes");
  return Array.from({ length: count }, (_, step) => addressOf(first + step));
}

/** The ports of nodes, each with how many nodes in a row have it: `20333(x3),0`; or, behind `=`, packed. */
export function foldPorts(ports: readonly number[]): string {
  const counts = foldCounts(ports);
  if (counts.length <= SHORT) return counts;
  const rows = ports.map((port) => Buffer.from([port >>> 8, port & 255]));
  const packed = `=${packRows(rows, PORT_BYTES)}`;
  return packed.length < counts.length ? packed : counts;
}

/**
 * The inverse of {@link foldPorts}.
 *
 * @param count how many there must be
 * @throws ProtocolError for anything else
 */
export function unfoldPorts(folded: string, count: number): number[] {
  if (folded.startsWith("=")) return unpackRows(folded.slice(1), PORT_BYTES, count).map((row) => row.readUInt16BE());
  const ports: number[] = [];
  for (const written of folded.split(",")) {
    const match = /^(0|[1-9]\d{0,4})(?:\(x([1-9]\d{0,6})\))?$/.exec(written);
    const [port, times] = [Number(match?.[1]), Number(match?.[2] ?? 1)];
    if (match === null || port > 65_535 || ports.length + times > count) throw new ProtocolError("ports that are none");
    for (let repeat = 0; repeat < times; repeat++) ports.push(port);
  }
  if (ports.length !== count) throw new ProtocolError(`${ports.length} ports for ${count} nodes`);
  return ports;
}
