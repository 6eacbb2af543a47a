import { afterAll, beforeAll, expect, test } from "vitest";
import { WHOLE } from "../whole.ts";
import { DOCKER, gangway, IMAGES } from "./harness.ts";
import { Traces } from "./traces.ts";

const LAUNCHES = WHOLE ? 100 : 16;
const AT_ONCE = 4;

let traces: Traces;

beforeAll(async () => {
  traces = await Traces.watch(DOCKER);
});

afterAll(() => traces.close());

/** A launch whose command hops to every node in its first instant; what went wrong, if anything did. */
async function launch(index: number): Promise<string[]> {
  const nodes = index % 5 === 0 ? 3 : (index % 2) + 1;
  const names = Array.from({ length: nodes }, (_, node) => `node${node + 1}`);
  // The command is ssh itself, by no shell's detour: the first thing that happens in the job.
  const last = names.at(-1) ?? "";
  const all = names.map((name) => `ssh ${name} hostname`).join(" && ");
  const command = index % 3 === 0 ? ["ssh", last, "hostname"] : ["sh", "-c", all];
  const expected = index % 3 === 0 ? `${last}\n` : `${names.join("\n")}\n`;
  const words = ["run", "--image", IMAGES.bare, "--pull", "never", "--nodes", String(nodes), "--", ...command];
  const { code, stdout, stderr } = await gangway(words);
  if (code === 0 && stdout === expected && stderr === "") return [];
  return [`launch ${index}, ${nodes} nodes: exit code ${code}, stdout ${stdout}, stderr ${stderr}`];
}

test(`${LAUNCHES} launches in a row, ${AT_ONCE} at a time: no first hop fails, and nothing is left`, async () => {
  const waiting = Array.from({ length: LAUNCHES }, (_, index) => index);
  const failures: string[] = [];
  const worker = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      failures.push(...(await launch(index)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  expect(failures).toEqual([]);
  await traces.gone();
});
