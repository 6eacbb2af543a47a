import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { JobNode } from "../../src/job/node.ts";
import type { Reporter } from "../../src/job/reporter.ts";
import { RunningJob } from "../../src/job/running-job.ts";
import { StdioBridge } from "../../src/job/stdio.ts";
import { Terminal } from "../../src/job/terminal.ts";
import { IdleHosts } from "./job-hosts.ts";
import { specificationOf } from "./job-spec.ts";

const silent: Reporter = {
  note: () => undefined,
  phase: () => undefined,
  pull: () => undefined,
  quiet: () => undefined,
};
const surroundings = { reporter: silent, terminal: new Terminal("/nonexistent") };

function nodesOf(): [JobNode, JobNode] {
  const events = { onStopped() {}, onLingering() {}, onSession() {}, onLost() {} };
  const [head, other] = specificationOf().allocation.nodes.map((node) => new JobNode(node, node.name, events));
  if (head === undefined || other === undefined) throw new TypeError("two nodes");
  return [head, other];
}

/** The streams of a command, and what joins them to ours. */
function bridge() {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  const attachment = { ...streams, destroy: () => undefined };
  return { ...streams, joined: new StdioBridge([{ attachment }], { onOutputError: () => undefined }) };
}

describe("a job that is stopped by ^Z", () => {
  it("tells the hosts that its launcher rests before this stops itself, and then that it goes on", async () => {
    const [head, other] = nodesOf();
    const deeds: string[] = [];
    class Told extends IdleHosts {
      override async rest(): Promise<void> {
        await Promise.resolve();
        deeds.push("rest");
      }
      override wake(): void {
        deeds.push("wake");
      }
    }
    class Stopped extends Terminal {
      override suspendSelf(): void {
        deeds.push("stop");
      }
    }
    const specification = { ...specificationOf(), tty: true };
    const terminal = new Stopped("/nonexistent");
    const running = new RunningJob(specification, new Told([head, other]), bridge().joined, {
      ...surroundings,
      terminal,
    });
    await running.suspend();
    expect(deeds).toEqual(["rest", "stop", "wake"]);
  });
});

describe("the end of a command's output", () => {
  it("may overtake the word of the command's end: its container is gone by then, and no engine broke anything off", async () => {
    const [head, other] = nodesOf();
    class Removed extends IdleHosts {
      override async engineWent(): Promise<boolean> {
        // The report comes while this is asked, and the container that had ended is not there any more.
        head.hear({ kind: "exit", code: 7 });
        head.lose();
        return true;
      }
    }
    const { stdout, stderr, joined } = bridge();
    const running = new RunningJob(specificationOf(), new Removed([head, other]), joined, surroundings);
    const exitCode = running.run(() => undefined);
    stdout.end();
    stderr.end();
    expect(await exitCode).toBe(7);
  });

  it("without such a word, from an engine that is another, is told as that", async () => {
    const [head, other] = nodesOf();
    class Restarted extends IdleHosts {
      override async engineWent(): Promise<boolean> {
        return true;
      }
    }
    const { stdout, stderr, joined } = bridge();
    const running = new RunningJob(specificationOf(), new Restarted([head, other]), joined, surroundings);
    const ended = running.run(() => undefined);
    stdout.end();
    stderr.end();
    await expect(ended).rejects.toThrow("n1: the engine broke off the command's input and output");
  });
});

describe("standard input", () => {
  it("that was never opened is left open: the launch may be begun anew on fewer nodes", () => {
    bridge().joined.close();
    expect(process.stdin.destroyed).toBe(false);
  });
});
