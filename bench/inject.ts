import { gangway, IMAGES } from "../test/job/harness.ts";
import { atMost, docker, type Place, type Row } from "./rows.ts";
import { interleave, type Samples, Stopwatch } from "./stopwatch.ts";

const FIRST = 11;
const LATER = 41;

/** `gangway inject` of a container that somebody else started, against `docker exec`. */
export async function injected({ directory, rounds }: Place): Promise<Row[]> {
  const watch = new Stopwatch([rounds], directory);
  const name = `gangway-bench-inject-${process.pid}`;
  docker("run", "-d", "--rm", "--name", name, IMAGES.bare, "sleep", "7200");
  const exec = async () => await watch.time(["docker", "exec", name, "true"]);
  const ours = async () => await watch.time(["gangway", "inject", name, "true"]);
  const row = (what: string, measured: { readonly ours: Samples; readonly exec: Samples }, most: number) => {
    const value = measured.ours.median / measured.exec.median;
    const peer = "docker exec c true";
    return atMost(
      most,
      { what, peer, unit: "ms", ours: measured.ours, theirs: measured.exec, measure: "ratio", value },
      0,
    );
  };
  try {
    const first = await interleave(FIRST, {
      exec,
      ours: async () => {
        await gangway(["inject", "--withdraw", name]);
        return await ours();
      },
    });
    const later = await interleave(LATER, { exec, ours });
    return [
      row("gangway inject c true, the first time", first, 8),
      row("gangway inject c true, a later session", later, 4),
    ];
  } finally {
    await watch.close();
    docker("rm", "-f", name);
  }
}
