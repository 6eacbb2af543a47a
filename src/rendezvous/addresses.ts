import { lookup } from "node:dns/promises";
import { existsSync, readdirSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** A host with more has some that nobody dials. */
const MOST_ADDRESSES = 8;
/** A name service that does not answer must not hold a launch up. */
const LOOKUP_LIMIT_MS = 2000;

/** An address of an interface that is up and has a carrier. */
export interface InterfaceAddress {
  readonly address: string;
  readonly family: 4 | 6;
  /** Whether the interface is a bridge: as a rule, one that containers or virtual machines of this host hang on. */
  readonly bridge: boolean;
}

/**
 * The addresses by which other hosts may reach this one, the best first: those that its own name stands for, then
 * those of other interfaces, then, where there are none, those of bridges. No loopback, no link-local ones; IPv4 first.
 */
export async function ownAddresses(): Promise<string[]> {
  const own: InterfaceAddress[] = [];
  // The kernel's flags UP and RUNNING are what libuv lists an interface by.
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const bridge = isBridge(name);
    for (const { address, family, internal } of addresses ?? []) {
      if (!internal) own.push({ address, family: family === "IPv4" ? 4 : 6, bridge });
    }
  }
  // Its name decides between several. Asking for that costs 5 ms, and more where a name service is slow.
  const several = own.filter(({ address }) => !isLinkLocal(address)).length > 1;
  return rankAddresses(own, several ? await addressesOfName(hostname()) : []);
}

function isBridge(name: string): boolean {
  return existsSync(`/sys/class/net/${name.split(":", 1)[0]}/bridge`);
}

/** The bridges of this host, up or not: as a rule, what containers or virtual machines of this host hang on. */
export function bridgeNames(): string[] {
  try {
    return readdirSync("/sys/class/net").filter(isBridge).sort();
  } catch {
    return [];
  }
}

/**
 * Puts addresses into the order in which they are worth dialling.
 *
 * @param own of this host's interfaces
 * @param named what its own name stands for, wherever that is
 */
export function rankAddresses(own: readonly InterfaceAddress[], named: readonly string[]): string[] {
  const usable = own.filter(({ address }) => !isLinkLocal(address)).sort((a, b) => a.family - b.family);
  const isNamed = ({ address }: InterfaceAddress) => named.includes(address);
  const first = usable.filter(isNamed);
  const others = usable.filter((entry) => !isNamed(entry) && !entry.bridge);
  const ranked = [...first, ...others];
  const chosen = ranked.length > 0 ? ranked : usable;
  return [...new Set(chosen.map(({ address }) => address))].slice(0, MOST_ADDRESSES);
}

function isLinkLocal(address: string): boolean {
  return address.startsWith("169.254.") || /^fe[89ab]/i.test(address);
}

async function addressesOfName(name: string): Promise<string[]> {
  const found = lookup(name, { all: true }).then(
    (entries) => entries.map(({ address }) => address),
    () => [],
  );
  const limit = new AbortController();
  const late = sleep(LOOKUP_LIMIT_MS, [], { signal: limit.signal, ref: false }).catch(() => []);
  try {
    return await Promise.race([found, late]);
  } finally {
    limit.abort();
  }
}
