import { unfoldHostlist } from "../src/allocation/hostlist.ts";

/* unfold.ts LIST - the milliseconds that unfolding a hostlist takes in a process that has not done so yet. */

const [list = ""] = process.argv.slice(2);
const where = { kind: "variable", name: "SLURM_JOB_NODELIST" } as const;
// In a launch the functions come compiled with the program; here a short list sees to that.
unfoldHostlist("n[1-2,08-10]", where);
const before = performance.now();
const names = unfoldHostlist(list, where);
const took = performance.now() - before;
if (names.length < 2) throw new Error("no hostlist");
process.stdout.write(`${took}\n`);
