import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { parseKitReply, renderKitReply } from "../../src/session/kit-reply.ts";

const KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIB1dvT9nCzYxbMvLqZ1xq2E0Y3o0eP5Y3m5XzVvYw1aB";
const LINES = [
  `certificate ssh-ed25519-cert-v01@openssh.com ${KEY} 1234-key-7`,
  `authority ssh-ed25519 ${KEY}`,
  "host node1.1234.job",
  "user alice",
  "socket /run/user/1000/gangway/1234/0/ssh",
  "connector /usr/lib/gangway/udiImage/libexec/connector",
  "tcp 10.0.0.7 1204",
  "tcp fd00::7 1204",
] as const;

function reply(keyword: string, line: string | undefined): string {
  const lines = LINES.filter((known) => !known.startsWith(`${keyword} `));
  return `${[...lines, ...(line === undefined ? [] : [line])].join("\n")}\n`;
}

describe("the reply of key authorize --kit", () => {
  it("is read", () => {
    expect(parseKitReply(`${LINES.join("\n")}\nnewer words\n`)).toEqual({
      certificate: `ssh-ed25519-cert-v01@openssh.com ${KEY}`,
      authority: `ssh-ed25519 ${KEY}`,
      principal: "node1.1234.job",
      user: "alice",
      socket: "/run/user/1000/gangway/1234/0/ssh",
      connector: "/usr/lib/gangway/udiImage/libexec/connector",
      tcp: [
        { address: "10.0.0.7", port: 1204 },
        { address: "fd00::7", port: 1204 },
      ],
    });
  });

  it("says through which further host the way goes, where there is one", () => {
    const text = `${LINES.join("\n")}\nthrough n1.site-2\n`;
    const read = parseKitReply(text);
    expect(read.through).toBe("n1.site-2");
    expect(parseKitReply(renderKitReply(read))).toEqual(read);
    expect(parseKitReply(`${LINES.join("\n")}\n`)).not.toHaveProperty("through");
  });

  it("says which workload manager leads there, where ssh does not", () => {
    const read = parseKitReply(`${LINES.join("\n")}\ncarried srun\n`);
    expect(read.carried).toBe("srun");
    expect(parseKitReply(renderKitReply(read))).toEqual(read);
    for (const other of ["tcp", "ssh", "sh -c x", ""]) {
      expect(() => parseKitReply(`${LINES.join("\n")}\ncarried ${other}\n`)).toThrow(/its line "carried"/);
    }
  });

  it("says where the node is, where that is another host than the one that answers", () => {
    for (const [address, port] of [["10.0.0.7", 1204] as const, ["fd00::7", 20_007] as const]) {
      const read = parseKitReply(`${LINES.join("\n")}\nrelay ${address} ${port}\n`);
      expect(read.relay).toEqual({ address, port });
      expect(parseKitReply(renderKitReply(read))).toEqual(read);
    }
    expect(parseKitReply(`${LINES.join("\n")}\n`)).not.toHaveProperty("relay");
  });

  it.each(["certificate", "authority", "host", "user", "socket", "connector"])("needs one line %s", (keyword) => {
    const wrong: unknown = expect.objectContaining({ exitCode: STATUS.unreachable });
    expect(() => parseKitReply(reply(keyword, undefined))).toThrow(wrong);
    const line = LINES.find((known) => known.startsWith(`${keyword} `));
    expect(() => parseKitReply(`${LINES.join("\n")}\n${line}\n`)).toThrow(wrong);
  });

  it.each([
    "certificate ssh-ed25519 AAAA",
    `authority ssh-rsa ${KEY}`,
    "host example.org",
    "host 1234.job",
    "host node1.1234.job ProxyCommand",
    "user -oProxyCommand=x",
    "user a b",
    "user $(id)",
    "socket relative",
    "socket /a b",
    "socket /a;touch x",
    "socket /a'b",
    "socket /a%h",
    "connector /x\ttouch",
    "connector /x$(touch y)",
    "connector /x`touch y`",
    "tcp 10.0.0.7",
    "tcp 10.0.0.7 0",
    "tcp 10.0.0.7 65536",
    "tcp -x 22",
    "tcp a;b 22",
    "through -oProxyCommand=x",
    "through a b",
    "through a;b",
    "through me@a",
    "through $(id)",
    "through ",
    "relay 10.0.0.7",
    "relay 10.0.0.7 0",
    "relay 10.0.0.7 65536",
    "relay 10.0.0.256 22",
    "relay beef 22",
    "relay fe80::1%lo 22",
    "relay 10.0.0.7 22 --owner",
    "relay 10.0.0.7 22;id",
  ])("%j is refused", (line) => {
    const keyword = line.slice(0, line.indexOf(" "));
    expect(() => parseKitReply(reply(keyword, line))).toThrow(/answer is not understood/);
  });

  it("nothing of it is special to a shell or to ssh_config, whatever the other side says", () => {
    const keyword = fc.constantFrom("host", "user", "socket", "connector", "through", "relay");
    fc.assert(
      fc.property(keyword, fc.string({ unit: "binary", maxLength: 40 }), (which, text) => {
        try {
          const read = parseKitReply(reply(which, `${which} ${text}`));
          const { principal, user, socket, connector, through = "", relay } = read;
          const words = [principal, user, socket, connector, through, relay?.address ?? "", relay?.port ?? ""];
          expect(words.join("")).toMatch(/^[A-Za-z0-9_./+@,:-]+$/);
        } catch (error) {
          expect(error).toMatchObject({ exitCode: STATUS.unreachable });
        }
      }),
      { numRuns: 500 },
    );
  });
});
