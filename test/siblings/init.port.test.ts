// init --prefer-port: the same port on every node of a job where that can be had, and a port in any case.
import { chownSync } from "node:fs";
import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { byTcp, hold, leave } from "./clients.ts";
import { buildAll, cleanUp, makeRunDir, Started } from "./helpers.ts";

const { init } = buildAll();
afterEach(async () => {
  await leave();
  await cleanUp();
});

/** A port on which somebody listens. */
async function takenPort(host: string) {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, host, done));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { port, free: async () => await new Promise((done) => server.close(done)) };
}

describe("init --prefer-port", () => {
  it("takes that port where it is free", async () => {
    const { port: wanted, free } = await takenPort("::");
    await free();
    const { port } = await hold(["--prefer-port", String(wanted)]);
    expect(port).toBe(wanted);
    await byTcp(port).served();
    await byTcp(port, "::1").served();
  });

  it.each(["::", "0.0.0.0", "127.0.0.1"])("lets the kernel choose where somebody listens on it at %s", async (host) => {
    const { port: wanted, free } = await takenPort(host);
    const { port } = await hold(["--prefer-port", String(wanted)]);
    expect(port).toBeGreaterThan(0);
    expect(port).not.toBe(wanted);
    await byTcp(port).served();
    await free();
  });

  it("lets the kernel choose where it is not allowed", async () => {
    const as = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--pdeathsig=KILL"];
    const prepare = (runDir: string) => chownSync(runDir, 12345, 12345);
    const { port } = await hold(["--prefer-port", "1"], { as, prepare });
    expect(port).toBeGreaterThanOrEqual(1024);
    await byTcp(port).served();
  });

  it("does so without IPv6, too", async () => {
    const { port: wanted, free } = await takenPort("127.0.0.1");
    const { port } = await hold(["--prefer-port", String(wanted)], { rig: ["--pid", "--no-ipv6"] });
    expect(port).not.toBe(wanted);
    await byTcp(port).served();
    await free();
  });

  it("is of the one address that is listened on", async () => {
    const { port: wanted, free } = await takenPort("127.0.0.1");
    const beside = await hold(["--listen", "127.0.0.2", "--prefer-port", String(wanted)]);
    expect(beside.port).toBe(wanted);
    const taken = await hold(["--listen", "127.0.0.1", "--prefer-port", String(wanted)]);
    expect(taken.port).not.toBe(wanted);
    await byTcp(taken.port, "127.0.0.1").served();
    await free();
  });

  it.each([
    [["--prefer-port", "0"], /^init: --prefer-port: 0$/m],
    [["--prefer-port", "65536"], /^init: --prefer-port: 65536$/m],
    [["--prefer-port", "x"], /^init: --prefer-port: x$/m],
    [["--prefer-port", "1", "--port", "2"], /^init: --port goes without --prefer-port$/m],
  ])("refuses %j", async (words, message) => {
    const started = new Started(init, ["--run-dir", makeRunDir(), ...words, "--hold"]);
    expect(await started.ended).toBe(125);
    expect(started.err()).toMatch(message);
  });
});
