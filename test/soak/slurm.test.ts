import { beforeAll, expect, test } from "vitest";
import { allocated, batch, loadEverywhere, remains } from "../cluster/batch.ts";
import { eventually, IMAGES } from "../job/harness.ts";

const JOBS = 30;
/** Every node into every node, as soon as there is a command; sorted by the hosts' names. */
const ALL_PAIRS =
  "for a in n1 n2 n3; do for b in n1 n2 n3; do ssh $a ssh $b hostname || exit 1; done; done | sort | uniq -c | tr -s ' \\n' ' '";
const REACHED = " 3 n1 3 n2 3 n3 ";

beforeAll(() => loadEverywhere("debian"));

test(`${JOBS} jobs of three hosts in a row, by sbatch and by salloc in turn: none fails, and none leaves anything`, async () => {
  const failures: string[] = [];
  for (let job = 1; job <= JOBS; job++) {
    const { code, stdout, stderr } =
      job % 2 === 1
        ? await batch(
            ["-N3"],
            `gangway run --pull never --image ${IMAGES.debian} -- sh -c "${ALL_PAIRS.replaceAll("$", "\\$")}"`,
          )
        : await allocated(
            ["-N3"],
            ["gangway", "run", "--pull", "never", "--image", IMAGES.debian, "--", "sh", "-c", ALL_PAIRS],
          );
    if (code !== 0 || stdout !== REACHED || stderr !== "") failures.push(`job ${job}: ${code} ${stdout} ${stderr}`);
  }
  expect(failures).toEqual([]);
  await eventually("nothing is left on the hosts", 20, () => remains() === "");
});
