import { describe, expect, it } from "vitest";
import { STATUS } from "../../src/config/errors.ts";
import { carriedName, checkMeant } from "../../src/session/carrier.ts";
import type { KitReply } from "../../src/session/kit-reply.ts";
import { checkHost } from "../../src/udi/names.ts";

function reply(principal: string): KitReply {
  const words = { certificate: "c", authority: "a", user: "alice", socket: "/s", connector: "/c", tcp: [] };
  return { principal, ...words };
}

describe("whom a host on the way may answer for", () => {
  it.each([
    [{ job: "7" }, "node1.7.job"],
    [{ job: "Lap", node: "Node2" }, "node2.lap.job"],
    [{ job: "lap", node: "1" }, "node2.lap.job"],
    [{ job: "lap", node: "n1.site" }, "n1.site.lap.job"],
    [{ job: "32.0" }, "slot1.32.0.job"],
    // The short forms are the other side's to read: NODE.JOB, too.
    [{ job: "node2", node: "lap" }, "node2.lap.job"],
  ])("%j: %s", (asked, principal) => {
    expect(checkMeant(reply(principal), asked, "login").principal).toBe(principal);
  });

  it.each([
    [{ job: "7" }, "node1.8.job"],
    [{ job: "7" }, "7.job"],
    [{ job: "7" }, "prod.example.org"],
    [{ job: "7" }, "node1.7.job.prod"],
    [{ job: "7", node: "node2" }, "node1.7.job"],
  ])("%j: not %s", (asked, principal) => {
    const error: unknown = expect.objectContaining({ exitCode: STATUS.unreachable });
    expect(() => checkMeant(reply(principal), asked, "login")).toThrow(error);
  });
});

describe("a launch that stands for the one that was asked for", () => {
  const means = (job: string) => job === "32.0-2";

  it("is what the manager's way says may do so, on the node that was asked for", () => {
    expect(checkMeant(reply("slot1.32.0-2.job"), { job: "32.0" }, "HTCondor", means).principal).toBe(
      "slot1.32.0-2.job",
    );
    for (const [asked, principal] of [
      [{ job: "32.0" }, "slot1.32.0-3.job"],
      [{ job: "32.0" }, "32.0-2.job"],
      [{ job: "32.0" }, "slot1.32.0-2.job.prod"],
      [{ job: "32.0", node: "slot2" }, "slot1.32.0-2.job"],
    ] as const)
      expect(() => checkMeant(reply(principal), asked, "HTCondor", means)).toThrow("answered for");
  });
});

describe("the name ssh knows a carried node by", () => {
  it("is another one for each carrier, and no host's", () => {
    const carriers = ["login", "a@login", "b@login", "a-login", "login:22", "[fd00::7]", "prod.example.org"];
    const names = carriers.map((host) => carriedName("Node1.7.job", host));
    expect(new Set(names).size).toBe(carriers.length);
    for (const name of names) {
      expect(name).toMatch(/^node1\.7\.job\.via\./);
      expect(name).toMatch(/^[A-Za-z0-9_.-]+$/);
    }
    expect(checkHost(carriedName("node1.7.job", "me@login.example.org"))).toBe(
      "node1.7.job.via.me-40login.example.org",
    );
  });
});
