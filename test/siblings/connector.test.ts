// The connector hands a connected descriptor over; what is on the other side of it need not be ssh.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildAll, cleanUp, makeDirectory, Started } from "./helpers.ts";

const { connector, passing } = buildAll();
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await cleanUp();
});

async function echoAt(path: string): Promise<void> {
  const server = createServer((socket) => socket.pipe(socket));
  servers.push(server);
  const here = process.cwd();
  process.chdir(join(path, ".."));
  try {
    await new Promise<void>((done) => server.listen(path.slice(path.lastIndexOf("/") + 1), done));
  } finally {
    process.chdir(here);
  }
}

describe("the connector", () => {
  it.each([20, 107, 108, 109, 300, 3000])("reaches a socket whose path has %i bytes", async (length) => {
    let place = makeDirectory();
    while (place.length + 12 < length) {
      place = join(place, "d".repeat(Math.max(1, Math.min(200, length - place.length - 12))));
      mkdirSync(place);
    }
    const path = join(place, "s".repeat(Math.max(1, Math.min(100, length - place.length - 1))));
    if (length > 60) expect(path.length).toBe(length);
    await echoAt(path);
    const started = new Started(passing, [connector, path]);
    started.process.stdin?.end("through the descriptor\n");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("through the descriptor\n");
    expect(started.err()).toBe("connector ended with 0\n");
  });

  it("reaches a socket with a long name of its own", async () => {
    const path = join(makeDirectory(), "n".repeat(90));
    await echoAt(path);
    const started = new Started(passing, [connector, path]);
    started.process.stdin?.end("x\n");
    expect(await started.ended).toBe(0);
    expect(started.out()).toBe("x\n");
  });

  it("says in one line what is wrong, and ends with 1", async () => {
    const place = makeDirectory();
    const cases: [string[], RegExp][] = [
      [
        [join(place, "none")],
        /cannot reach the job's container at \S+\/none: No such file or directory \(has the job ended\?\)/,
      ],
      [[join(place, "x".repeat(150))], /No such file or directory \(has the job ended\?\)/],
      [[], /usage: connector PATH/],
      [[""], /usage: connector PATH/],
      [["a", "b"], /usage: connector PATH/],
      [["/".repeat(5000)], /cannot reach/],
    ];
    for (const [args, message] of cases) {
      const started = new Started(connector, args);
      expect(await started.ended).toBe(1);
      expect(started.err()).toMatch(message);
      expect(started.err().split("\n")).toHaveLength(2);
      expect(started.out()).toBe("");
    }
  });

  it("says that ProxyUseFdpass is needed when its stdout is no socket", async () => {
    const path = join(makeDirectory(), "s");
    await echoAt(path);
    const started = new Started("sh", ["-c", `${connector} ${path} | cat; ${connector} ${path} >&-`]);
    await started.ended;
    expect(started.err().match(/ProxyUseFdpass yes is needed/g)).toHaveLength(2);
  });

  it("is small", () => {
    expect(execFileSync("stat", ["-c", "%s", connector], { encoding: "utf8" }).trim()).toMatch(/^\d{5}$/);
  });
});
