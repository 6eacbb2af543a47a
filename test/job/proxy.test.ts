import { expect, test } from "vitest";
import { GANGWAY, gangway, run, start } from "./harness.ts";
import { CLIENTS, directoryOf, withJob } from "./reach.ts";

/*
 * gangway proxy: bytes and nothing else on standard output, each direction ends by itself.
 */

test("carries a whole session, by each way, for each client", async () => {
  await withJob("reach-proxy", [], async () => {
    const kit = `${directoryOf("reach-proxy")}/kit/ssh_config`;
    for (const ssh of CLIENTS) {
      for (const way of ["socket", "tcp"]) {
        const proxy = `${GANGWAY} proxy --connect ${way} %h`;
        const options = ["-F", kit, "-o", `ProxyCommand=${proxy}`, "-o", "ProxyUseFdpass=no", "-T"];
        const input = Buffer.alloc(1_000_000, "0123456789abcdef\n");
        const result = await run([ssh, ...options, "reach-proxy.job", "cat; exit 6"], { input });
        expect(result.code).toBe(6);
        expect(result.bytes.equals(input)).toBe(true);
        expect(result.stderr).not.toContain("gangway:");
      }
    }
  });
});

test("an end of input is passed on, and what the sshd still says arrives", async () => {
  await withJob("reach-half", [], async () => {
    for (const way of ["socket", "tcp"]) {
      const result = await gangway(["proxy", "--connect", way, "reach-half"], { input: "SSH-2.0-test\r\n" });
      expect(result.code).toBe(0);
      expect(result.stdout).toMatch(/^SSH-2.0-OpenSSH_/);
    }
  });
});

test("ends when its input closes before there is a connection, and when nobody reads its output", async () => {
  const child = start([GANGWAY, "proxy", "reach-none"]);
  child.stdin.end();
  expect(await new Promise((resolve) => child.once("close", resolve))).toBe(68);
  await withJob("reach-reader", [], async () => {
    const proxy = start([GANGWAY, "proxy", "--connect", "tcp", "reach-reader"]);
    const ended = new Promise((resolve) => proxy.once("close", resolve));
    proxy.stdin.on("error", () => undefined);
    proxy.stdout.destroy();
    proxy.stdin.write("SSH-2.0-test\r\n");
    proxy.stdin.end();
    await ended;
  });
});
