import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GANGWAY, IMAGES, run, USER } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { CARRIERS, type Carrier, randomFile, sum, thereAndBack } from "./bulk.ts";
import { Client, quoted, startJob } from "./client.ts";

/*
 * An image with nothing (a single static program): no shell, no sftp-server, scp, rsync or tar, no /etc and no /tmp, with a
 * root that nobody can write to, and a home that is of no use. What sessions need is in the tree that is mounted into it.
 */

/** Of the programs that copy, those that look for files of their own in a home. */
const LOOK_THERE = CARRIERS.filter(({ name }) => name === "scp" || name === "rsync");

/** How the job's home is mounted; null: it is not there. */
const HOMES: readonly (readonly [string, string | null, readonly Carrier[]])[] = [
  ["missing", null, CARRIERS],
  ["read-only", ":ro", LOOK_THERE],
  ["closed to its owner's writing", "", LOOK_THERE],
];

describe.each(HOMES)("an image with nothing, on two nodes, its home %s", (_, mounted, carriers) => {
  let home: string;
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    home = mkdtempSync("/tmp/gangway-home-");
    chownSync(home, USER.uid, USER.gid);
    chmodSync(home, 0o555);
    const volume = mounted === null ? [] : ["--volume", `${home}:${USER.home}${mounted}`];
    job = await startJob({ image: IMAGES.scratch, nodes: 2, words: ["--read-only", ...volume] });
    client = new Client(job);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
    rmSync(home, { recursive: true });
  });

  it.each(carriers)("$name carries a file there and back", async (carrier) => {
    expect(await thereAndBack(client, carrier, 1)).toEqual([]);
  });

  it("nobody complains of it: a command, a login shell, a hop, a copy between the nodes; and it stays empty", async () => {
    const facts = "echo $HOME; pwd";
    const from = (node: string) => ({ code: 0, stderr: "", stdout: `${node}\n${USER.home}\n/w\n` });
    expect(await client.sh(`hostname; ${facts}`)).toMatchObject(from("node1"));
    expect(await client.ssh(["-T", client.host()], { input: `hostname; ${facts}\n` })).toMatchObject(from("node1"));
    expect(await client.sh(`ssh node2 ${quoted(`hostname; ${facts}`)}`)).toMatchObject(from("node2"));
    const copies = ["scp -q", "scp -q -O", "rsync"].map((copy) => `${copy} /t/a node2:/t/b && ${copy} node2:/t/b /t/c`);
    const check = "cmp /t/a /t/c && rm /t/c && ssh node2 rm /t/b";
    const script = ["head -c 100000 /dev/urandom >/t/a", ...copies.map((copy) => `${copy} && ${check}`)].join(" && ");
    expect(await client.sh(script)).toMatchObject({ code: 0, stderr: "", stdout: "" });
    expect(readdirSync(home)).toEqual([]);
  });

  it("through gangway ssh: tar in a pipe, and rsync", async () => {
    mkdirSync(client.path("from"), { recursive: true });
    randomFile(client.path("from/data"), 1);
    chownSync(client.path("from"), USER.uid, USER.gid);
    const wanted = await sum(client.path("from/data"));
    const ssh = `${GANGWAY} ssh ${job.id}`;
    const script = [
      `tar c from | ${ssh} tar x -C /t`,
      `${ssh} tar c -C /t from | tar x --transform s/from/to/`,
      `rsync -a -e '${GANGWAY} ssh' ${job.id}:/t/from/ again`,
      `${ssh} rm -r /t/from`,
    ].join(" && ");
    const options = { cwd: client.directory };
    expect(await run(["/bin/bash", "-o", "pipefail", "-c", script], options)).toMatchObject({ code: 0, stderr: "" });
    for (const place of ["to", "again"]) expect(await sum(client.path(`${place}/data`))).toBe(wanted);
    rmSync(client.path("from"), { recursive: true });
  });
});
