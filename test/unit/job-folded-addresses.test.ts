import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldAddresses, foldPorts, unfoldAddresses, unfoldPorts } from "../../src/job/folded-addresses.ts";
import { ProtocolError } from "../../src/job/shape.ts";

const NODES = 10_000;
const KIB = 1024;
const ipv4 = (number: number) => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
/** Numbers without an order, the same in each run. */
function mixed(count: number, below: number): number[] {
  let state = 88_172_645;
  return Array.from({ length: count }, () => {
    // Marsaglia's xorshift32.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  });
}

describe("addresses", () => {
  it.each([
    [["10.0.0.1"], "10.0.0.1"],
    [["10.0.0.1", "10.0.0.2", "10.0.0.3"], "10.0.0.1+3"],
    [["10.0.0.254", "10.0.0.255", "10.0.1.0"], "10.0.0.254+3"],
    [["10.0.0.3", "10.0.0.1", "10.0.0.2"], "10.0.0.3,10.0.0.1+2"],
    [["fd00::1", "10.0.0.1"], "fd00::1,10.0.0.1"],
    [["255.255.255.255"], "255.255.255.255"],
  ])("%j are %s", (addresses, folded) => {
    expect(foldAddresses(addresses)).toBe(folded);
    expect(unfoldAddresses(folded, addresses.length)).toEqual(addresses);
  });

  it("are unfolded as they were folded, whatever they are and however they are written", () => {
    const address = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(ipv4),
      fc.integer({ min: 0, max: 300 }).map((number) => ipv4(0x0a000000 + number)),
      fc.ipV6(),
      fc.constantFrom("fd00::1", "FD00::1", "fd00:0:0:0:0:0:0:1", "::", "::1", "::ffff:10.0.0.1", "1::"),
    );
    const addresses = fc.oneof(
      fc.array(address, { minLength: 1, maxLength: 60 }),
      // So many that they are packed.
      fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(ipv4), { minLength: 90, maxLength: 120 }),
      fc.array(fc.ipV6(), { minLength: 60, maxLength: 80 }),
      fc.array(
        fc.integer({ min: 0, max: 0xffff }).map((group) => `fd00::${group.toString(16)}`),
        {
          minLength: 150,
          maxLength: 200,
        },
      ),
    );
    fc.assert(
      fc.property(addresses, (list) => {
        expect(unfoldAddresses(foldAddresses(list), list.length)).toEqual(list);
      }),
    );
  });

  it.each([
    ["", 1],
    ["10.0.0.1", 2],
    ["10.0.0.1,10.0.0.2", 1],
    ["10.0.0.1+2", 1],
    ["10.0.0.1+0", 1],
    ["10.0.0.1+1+1", 1],
    ["10.0.0.1+1e1", 10],
    ["10.0.0.1 +1", 1],
    ["255.255.255.255+2", 2],
    ["fd00::1+2", 2],
    ["10.0.0.256", 1],
    ["n1", 1],
    ["10.0.0.1\nHost *", 1],
    ["4=", 1],
    ["4=AAAA", 1],
    ["6=AAAA", 1],
  ])("%j are not those of %i nodes", (folded, count) => {
    expect(() => unfoldAddresses(folded, count)).toThrow(ProtocolError);
  });

  it("that would be more than there are nodes are refused before they are made", () => {
    const bomb = Array.from({ length: 10_000 }, () => "10.0.0.0+16000000").join(",");
    expect(() => unfoldAddresses(bomb, 3)).toThrow("more addresses than nodes");
    const zeros = deflateRawSync(Buffer.alloc(32 * KIB * KIB)).toString("base64");
    expect(zeros.length).toBeLessThan(64 * KIB);
    expect(() => unfoldAddresses(`4=${zeros}`, 3)).toThrow("of another length");
  });

  it("never make unfolding throw anything but that they are none, nor have one that is none", () => {
    const part = fc.oneof(fc.constantFrom("10.0.0.1", "+", "4=", "6=", ",", "7", "::"), fc.string());
    fc.assert(
      fc.property(
        fc.array(part).map((parts) => parts.join("")),
        fc.integer({ min: 1, max: 20 }),
        (folded, count) => {
          try {
            const addresses = unfoldAddresses(folded, count);
            expect(addresses).toHaveLength(count);
            for (const address of addresses) expect(address).toMatch(/^[\da-fA-F.:]+$/);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        },
      ),
    );
  });
});

describe("ports", () => {
  it("are unfolded as they were folded", () => {
    const port = fc.oneof(fc.constantFrom(0, 1204, 20_333), fc.integer({ min: 0, max: 65_535 }));
    fc.assert(
      fc.property(fc.array(port, { minLength: 1, maxLength: 400 }), (ports) => {
        expect(unfoldPorts(foldPorts(ports), ports.length)).toEqual(ports);
      }),
    );
    expect(foldPorts([20_333, 20_333, 20_333, 0])).toBe("20333(x3),0");
  });

  it.each([
    ["", 1],
    ["1204", 2],
    ["1204(x2)", 1],
    ["1204(x0)", 1],
    ["65536", 1],
    ["01", 1],
    ["-1", 1],
    ["1204(x9999999)", 3],
    ["=", 1],
    ["=AAAA", 1],
  ])("%j are not those of %i nodes", (folded, count) => {
    expect(() => unfoldPorts(folded, count)).toThrow(ProtocolError);
  });
});

describe("ten thousand nodes", () => {
  const ordered = Array.from({ length: NODES }, (_, index) => ipv4(0x0a010000 + index));
  const inTwoBytes = mixed(NODES, 2 ** 16).map((number) => ipv4(0x0a010000 + number));
  const anywhere = mixed(NODES, 2 ** 32).map(ipv4);
  const ipv6 = mixed(NODES, 2 ** 24).map((number) => {
    const digits = number.toString(16).padStart(6, "0");
    return new URL(`http://[2001:db8:1:2:a00:27ff:fe${digits.slice(0, 2)}:${digits.slice(2)}]`).hostname.slice(1, -1);
  });
  const samePort = Array.from({ length: NODES }, () => 20_333);
  const anyPort = mixed(NODES, 28_232).map((port) => 32_768 + port);

  it.each([
    ["one after the other", ordered, samePort, 1],
    ["in any order, of one network", inTwoBytes, samePort, 32],
    ["in any order, of one network, each with a port of its own", inTwoBytes, anyPort, 60],
    ["of IPv4, anywhere", anywhere, samePort, 60],
    ["of IPv6, made of network cards' numbers", ipv6, samePort, 60],
  ])("%s fit in 64 KiB, with room for their trust", (_name, addresses, ports, kib) => {
    const folded = [foldAddresses(addresses), foldPorts(ports)];
    expect(folded.join("").length).toBeLessThan(kib * KIB);
    expect(unfoldAddresses(folded[0] ?? "", NODES)).toEqual(addresses);
    expect(unfoldPorts(folded[1] ?? "", NODES)).toEqual(ports);
  });
});
