import { describe, expect, it } from "vitest";
import { GangwayError } from "../../src/config/errors.ts";
import { ownName } from "../../src/job/node-process.ts";
import { failureFrame, parseFrame } from "../../src/rendezvous/frames.ts";

describe("the name that a node process gives", () => {
  it("is the manager's, before the host's own", () => {
    expect(ownName({ SLURMD_NODENAME: "n1" }, "login")).toBe("n1");
    expect(ownName({}, "host.example.org")).toBe("host.example.org");
  });

  it.each(["", "two words", "(none)", "-x", "a\nb"])("is one that a frame can have, where the host's is %j", (host) => {
    const frame = failureFrame(ownName({}, host), new GangwayError("no engine"));
    expect(parseFrame(frame)).toMatchObject({ kind: "failed", text: "no engine" });
  });
});
