import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupsOf, plainAddress, sourceOf } from "../../src/rendezvous/source.ts";

describe("whom a connection is counted against", () => {
  it.each([
    ["127.0.0.1", "127.200.3.4"],
    ["::1", "::ffff:127.0.0.9"],
    ["192.0.2.7", "::ffff:192.0.2.7"],
    ["2001:db8:0:7::1", "2001:db8:0:7:ffff:ffff:ffff:ffff"],
    ["fe80::1%eth0", "fe80::2%eth0"],
  ])("%s and %s are one", (one, other) => {
    expect(sourceOf(one)).toBe(sourceOf(other));
  });

  it.each([
    ["192.0.2.7", "192.0.2.8"],
    ["2001:db8:0:7::1", "2001:db8:0:8::1"],
    ["127.0.0.1", "192.0.2.7"],
  ])("%s and %s are two", (one, other) => {
    expect(sourceOf(one)).not.toBe(sourceOf(other));
  });
});

describe("an IPv6 address", () => {
  it("has the groups that the URL parser finds in it", () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
        expect(groupsOf(address)).toEqual(groupsOf(canonical));
        expect(new URL(`http://[${groupsOf(address).join(":")}]/`).hostname).toBe(`[${canonical}]`);
      }),
    );
  });

  it("is shown as the IPv4 address that it stands for, and without its zone", () => {
    expect(plainAddress("::FFFF:192.0.2.7")).toBe("192.0.2.7");
    expect(plainAddress("fe80::1%eth0")).toBe("fe80::1");
    expect(plainAddress("2001:db8::1")).toBe("2001:db8::1");
  });
});
