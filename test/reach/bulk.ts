import { createHash, randomFillSync } from "node:crypto";
import { chownSync, closeSync, createReadStream, openSync, rmSync, writeSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { run, USER } from "../job/harness.ts";
import { type Client, quoted } from "./client.ts";

const MIB = 2 ** 20;

/** Makes a file of random bytes, the user's. */
export function randomFile(path: string, mebibytes: number): void {
  const file = openSync(path, "w");
  const piece = Buffer.alloc(MIB);
  for (let n = 0; n < mebibytes; n += 1) writeSync(file, randomFillSync(piece));
  closeSync(file);
  chownSync(path, USER.uid, USER.gid);
}

/** SHA-256 of a file on this side, in hexadecimal. */
export async function sum(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** A way to carry a file to the job's /t/there and back from there; each throws nothing and says what was printed. */
export interface Carrier {
  readonly name: string;
  up(client: Client, path: string): Promise<{ code: number; stderr: string }>;
  down(client: Client, path: string): Promise<{ code: number; stderr: string }>;
}

/** A shell on this side, for what stands in a pipe; SSH is the client, HOST the job. */
async function inShell(client: Client, script: string) {
  const ssh = client.argv([]).map(quoted).join(" ");
  const text = script.replaceAll("SSH", `${ssh} ${client.host()}`);
  const pipefail = ["/bin/bash", "-o", "pipefail", "-c", text];
  return await run(pipefail, { ...client.job.options, cwd: client.directory });
}

const there = (client: Client) => `${client.host()}:/t/there`;

export const CARRIERS: readonly Carrier[] = [
  {
    name: "scp",
    up: async (client, path) => await client.scp([path, there(client)]),
    down: async (client, path) => await client.scp([there(client), path]),
  },
  {
    name: "scp -O",
    up: async (client, path) => await client.scp(["-O", path, there(client)]),
    down: async (client, path) => await client.scp(["-O", there(client), path]),
  },
  {
    name: "sftp",
    up: async (client, path) => await client.sftp(`put ${path} /t/there\n`),
    down: async (client, path) => await client.sftp(`get /t/there ${path}\n`),
  },
  {
    name: "rsync",
    up: async (client, path) => await client.rsync([path, there(client)]),
    down: async (client, path) => await client.rsync([there(client), path]),
  },
  {
    name: "a pipe",
    up: async (client, path) => await inShell(client, `SSH 'cat >/t/there' <${path}`),
    down: async (client, path) => await inShell(client, `SSH 'cat /t/there' >${path}`),
  },
  {
    name: "tar",
    up: async (client, path) => await inShell(client, `tar -C / -c ${path.slice(1)} | SSH 'tar xO >/t/there'`),
    down: async (client, path) => await inShell(client, `SSH 'cd /t && tar c there' | tar xO >${path}`),
  },
];

/** Carries a random file to and fro; fails where what comes out is another. */
export async function thereAndBack(client: Client, carrier: Carrier, mebibytes: number): Promise<string[]> {
  const [one, two] = [client.path("one"), client.path("two")];
  randomFile(one, mebibytes);
  const wanted = await sum(one);
  const up = await carrier.up(client, one);
  rmSync(one);
  const arrived = await client.sh("sha256sum /t/there | cut -d' ' -f1");
  const down = await carrier.down(client, two);
  const returned = down.code === 0 ? await sum(two) : "";
  rmSync(two, { force: true });
  await client.sh("rm -f /t/there");
  const wrong = (what: string, { code, stderr }: { code: number; stderr: string }) =>
    code === 0 && stderr === "" ? [] : [`${what}: ${code} ${stderr}`];
  return [
    ...wrong("up", up),
    ...wrong("down", down),
    ...(arrived.stdout.trim() === wanted ? [] : [`what arrived is another: ${arrived.stdout}${arrived.stderr}`]),
    ...(returned === wanted ? [] : ["what came back is another"]),
  ];
}
