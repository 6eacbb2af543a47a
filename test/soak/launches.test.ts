import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DOCKER, ENGINES, gangway, IMAGES, run, USER } from "../job/harness.ts";

const LAUNCHES = 300;
const AT_A_TIME = 4;

async function inTurns(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
}

describe("hundreds of launches", () => {
  it.each(ENGINES)("leave $name as it was, and none of them fails", async (engine) => {
    const failures: string[] = [];
    await inTurns(LAUNCHES / ENGINES.length, async (index) => {
      const nodes = 1 + (index % 3);
      const script = `for i in $(seq ${nodes}); do ssh node$i hostname; done`;
      const result = await gangway(
        ["run", "--image", IMAGES.bare, "--nodes", String(nodes), "--", "sh", "-c", script],
        {
          engine,
        },
      );
      const wanted = Array.from({ length: nodes }, (_, node) => `node${node + 1}\n`).join("");
      if (result.code !== 0 || result.stdout !== wanted || result.stderr !== "") {
        failures.push(`launch ${index}: ${result.code} ${result.stdout} ${result.stderr}`);
      }
    });
    expect(failures).toEqual([]);
    const left = await gangway(["ps", "--quiet"], { engine });
    expect(left.stdout).toBe("");
    // Notes of `gangway inject` stay for a day.
    const files = readdirSync(join(USER.runtime, "gangway")).filter((name) => !name.startsWith(".injected-"));
    expect(files).toEqual([]);
  });

  it("1,000 sessions one after another leave init as small as it was", async () => {
    const script = [
      "size() { ssh node2 'grep VmRSS /proc/1/status; ls /proc/1/fd | wc -l; ls -d /proc/[0-9]* | wc -l'; }",
      "size; size > /tmp/before",
      "i=0; while [ $i -lt 1000 ]; do ssh node2 true || exit 1; i=$((i+1)); done",
      "size > /tmp/after; cat /tmp/before /tmp/after",
    ].join("\n");
    const result = await gangway(
      ["run", "--image", IMAGES.bare, "--nodes", "2", "--tmpfs", "/tmp", "--", "sh", "-c", script],
      { engine: DOCKER },
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const numbers = result.stdout.match(/\d+/g)?.map(Number) ?? [];
    const [rssBefore = 0, filesBefore, processesBefore, rssAfter = 0, filesAfter, processesAfter] = numbers.slice(-6);
    expect({ files: filesAfter, processes: processesAfter }).toEqual({
      files: filesBefore,
      processes: processesBefore,
    });
    expect(rssAfter - rssBefore).toBeLessThanOrEqual(64);
  });
});

describe("1 GiB of random bytes", () => {
  const GIB = 1024;

  it("goes each way between nodes unharmed, by a pipe, scp, sftp and rsync", async () => {
    const script = [
      "set -e",
      `dd if=/dev/urandom of=/big/data bs=1M count=${GIB} 2>/dev/null`,
      "sum() { sha256sum \"$1\" | cut -d' ' -f1; }",
      "want=$(sum /big/data)",
      'check() { [ "$(sum /big/back)" = "$want" ] && echo "$1 ok" || echo "$1 BAD"; rm -f /big/back; }',
      "ssh node2 'cat > /big/copy' < /big/data; ssh node2 'cat /big/copy' > /big/back; check pipe",
      "ssh node2 rm /big/copy; scp -q /big/data node2:/big/copy; scp -q node2:/big/copy /big/back; check scp",
      "ssh node2 rm /big/copy; printf 'put /big/data /big/copy\\nget /big/copy /big/back\\n' | sftp -q -b - node2 >/dev/null; check sftp",
      "ssh node2 rm /big/copy; rsync /big/data node2:/big/copy; rsync node2:/big/copy /big/back; check rsync",
    ].join("\n");
    const result = await gangway(
      ["run", "--image", IMAGES.bare, "--nodes", "2", "--tmpfs", "/big:size=3g,mode=1777", "--", "sh", "-c", script],
      { engine: DOCKER },
    );
    expect(result).toMatchObject({ code: 0, stderr: "", stdout: "pipe ok\nscp ok\nsftp ok\nrsync ok\n" });
  });

  it("goes through the launcher's own standard streams unharmed", async () => {
    const launcher = `gangway run --image ${IMAGES.bare} -- sh -c 'tee /dev/stderr | cat' 2>/tmp/gangway-soak-err.$$ `;
    const script = [
      `head -c ${GIB}M /dev/urandom > /tmp/gangway-soak.$$`,
      `${launcher} < /tmp/gangway-soak.$$ | sha256sum`,
      "sha256sum < /tmp/gangway-soak.$$; sha256sum < /tmp/gangway-soak-err.$$; rm -f /tmp/gangway-soak*.$$",
    ].join("\n");
    const path = join(process.env.GANGWAY_TEST_INSTALL ?? "", "bin");
    const result = await run(["sh", "-c", script], { env: { PATH: `${path}:${process.env.PATH}` } });
    const sums = result.stdout.trim().split("\n");
    expect(sums).toHaveLength(3);
    expect(new Set(sums).size).toBe(1);
  });
});
