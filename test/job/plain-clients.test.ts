import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { Client, type ConnectConfig } from "ssh2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gangway, IMAGES, inDirectory, USER } from "./harness.ts";

/*
 * Clients that know no certificates, from the access kit alone: ssh2 (Node's), by TCP and by the unix socket. It believes
 * the host key that known_hosts_plain has for what it connects to, and no other.
 */

const JOB = "plain-1";
const directory = join(USER.runtime, "gangway", JOB);

function kit(name: string): string {
  return readFileSync(join(directory, "kit", name), "utf8");
}

/** The key that known_hosts_plain has for a host, in its exact form. */
function expectedKey(host: string): string {
  const line = kit("known_hosts_plain")
    .split("\n")
    .find((entry) => entry.startsWith(`${host} `));
  return line?.split(" ")[2] ?? "";
}

interface Seen {
  readonly output: string;
  readonly offered: string;
}

/** Logs in and runs a command. */
async function enter(how: ConnectConfig, expected: string, command: string): Promise<Seen> {
  const client = new Client();
  let offered = "";
  try {
    return await new Promise<Seen>((resolve, reject) => {
      client.on("error", reject);
      client.on("ready", () => {
        client.exec(command, (error, channel) => {
          if (error !== undefined) {
            reject(error);
            return;
          }
          let output = "";
          channel.on("data", (chunk: Buffer) => {
            output += chunk.toString();
          });
          channel.on("close", () => resolve({ output, offered }));
        });
      });
      client.connect({
        username: USER.name,
        privateKey: kit("id_ed25519"),
        algorithms: { serverHostKey: ["ssh-ed25519"] },
        hostVerifier: (key: Buffer) => {
          offered = key.toString("base64");
          return offered === expected;
        },
        ...how,
      });
    });
  } finally {
    client.destroy();
  }
}

interface HostsNode {
  readonly name: string;
  readonly port: number;
  readonly addresses: readonly string[];
}

describe("a client that knows no certificates", () => {
  let nodes: readonly HostsNode[];

  beforeAll(async () => {
    await inDirectory(async (cwd) => {
      const words = ["run", "-d", "--name", JOB, "-N", "2", "--image", IMAGES.debian, "sleep", "300"];
      expect(await gangway(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    });
    const { stdout } = await gangway(["hosts", JOB, "--json"]);
    nodes = JSON.parse(stdout) as HostsNode[];
  });
  afterAll(async () => await gangway(["stop", "--signal", "KILL", JOB]));

  it.each(["ADDRESS", "[ADDRESS]:PORT"])("by TCP, with the key known as %s", async (form) => {
    for (const { name, port, addresses } of nodes) {
      const [host = ""] = addresses;
      const expected = expectedKey(form.replace("ADDRESS", host).replace("PORT", String(port)));
      expect(expected).not.toBe("");
      expect((await enter({ host, port }, expected, "hostname")).output).toBe(`${name}\n`);
    }
  });

  it("by the unix socket, with the key known by the node's name", async () => {
    for (const [index, { name }] of nodes.entries()) {
      const sock = createConnection({ path: join(directory, String(index), "ssh") });
      const expected = expectedKey(`${name}.${JOB}.job`);
      expect((await enter({ sock }, expected, "hostname")).output).toBe(`${name}\n`);
    }
    expect(expectedKey(`${JOB}.job`)).toBe(expectedKey(`node1.${JOB}.job`));
  });

  it("refuses a host that has another key, such as the job's other node", async () => {
    const [first, second] = nodes;
    const wrong = expectedKey(`${second?.name}.${JOB}.job`);
    expect(wrong).not.toBe(expectedKey(`${first?.name}.${JOB}.job`));
    await expect(enter({ host: first?.addresses[0] ?? "", port: first?.port ?? 0 }, wrong, "true")).rejects.toThrow(
      /verification failed/i,
    );
  });

  it("with another key than the kit's does not get in", async () => {
    const [node] = nodes;
    const host = node?.addresses[0] ?? "";
    const foreign = readFileSync(join(directory, "1/id_ed25519"), "utf8");
    await expect(
      enter({ host, port: node?.port ?? 0, privateKey: foreign }, expectedKey(host), "true"),
    ).rejects.toThrow(/authentication methods failed/i);
  });
});
