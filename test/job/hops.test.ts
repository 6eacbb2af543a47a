import { describe, expect, test, vi } from "vitest";
import { inPart } from "../whole.ts";
import { DOCKER, ENGINES, gangway, IMAGES, PODMAN, type RigEngine, ROOTLESS, type RunResult } from "./harness.ts";

/*
 * From every node to every node, itself too, by everything that speaks ssh, in the first instant of the command: what a
 * hop prints is what the other side said, and nothing else, on both streams.
 */

vi.setConfig({ maxConcurrency: 2 });

const NODES = ["node1", "node2", "node3"];

/** No image needs a shell of its own: this is the tree's. */
const SHELL = "/opt/udiImage/tools/sh";

/**
 * What every node does, for each node: what was made here goes there by scp and rsync, ssh tells where it came out and
 * what has arrived, sftp brings it back. One line a hop: FROM PROGRAM TO, status, output, what stood on stderr.
 */
const VISIT = `
  me=$(hostname)
  try() { # LABEL COMMAND...
    label=$1
    shift
    output=$("$@" </dev/null 2>"/t/$me.stderr")
    status=$?
    printf '%s: %s [%s] [%s]\\n' "$label" "$status" "$output" "$(cat "/t/$me.stderr")"
  }
  echo "of $me" >"/t/of-$me"
  for there in ${NODES.join(" ")}; do
    try "$me scp $there" scp "/t/of-$me" "$there:/t/scp-$me"
    try "$me rsync $there" rsync -a "/t/of-$me" "$there:/t/rsync-$me"
    try "$me ssh $there" ssh "$there" "hostname; cat /t/scp-$me /t/rsync-$me"
    echo "get /t/scp-$me /t/back-$there" >/t/batch
    try "$me sftp $there" sftp -b /t/batch "$there"
    try "$me kept $there" cat "/t/back-$there"
  done
`;

/** All nodes at once, this one among them. The session has the job's environment, and so the script. */
const ALL_PAIRS = `
  ssh node2 'eval "$VISIT"' >/t/report-2 &
  ssh node3 'eval "$VISIT"' >/t/report-3 &
  (eval "$VISIT") >/t/report-1
  wait
  cat /t/report-1 /t/report-2 /t/report-3
`;

const EVERY_HOP = NODES.flatMap((me) =>
  NODES.flatMap((there) => [
    `${me} scp ${there}: 0 [] []`,
    `${me} rsync ${there}: 0 [] []`,
    `${me} ssh ${there}: 0 [${there}\nof ${me}\nof ${me}] []`,
    `${me} sftp ${there}: 0 [sftp> get /t/scp-${me} /t/back-${there}] []`,
    `${me} kept ${there}: 0 [of ${me}] []`,
  ]),
).sort();

/** The lines of a report, one hop each: a line begins where a node's name does. */
function hopsOf({ stdout }: RunResult): string[] {
  return stdout
    .trimEnd()
    .split(/\n(?=node\d \w+ node\d: )/)
    .sort();
}

interface Launch {
  readonly engine: RigEngine;
  readonly image: keyof typeof IMAGES;
  readonly options?: readonly string[];
}

async function inThreeNodes({ engine, image, options = [] }: Launch, script: string): Promise<RunResult> {
  const readOnly = image === "locked" ? ["--read-only"] : [];
  const words = ["--image", IMAGES[image], "--nodes", "3", "--tmpfs", "/t:mode=1777", ...readOnly, ...options];
  return await gangway(["run", ...words, "--env", `VISIT=${VISIT}`, "--", SHELL, "-c", script], { engine });
}

const EVERY_IMAGE = Object.keys(IMAGES) as (keyof typeof IMAGES)[];

/** The images that a launch with a late node is tried with; one engine has them all. */
const LATE: readonly Launch[] = [
  ...EVERY_IMAGE.map((image) => ({ engine: DOCKER, image })),
  { engine: PODMAN, image: "bare" },
  { engine: ROOTLESS, image: "bare" },
];

describe.concurrent("all pairs", () => {
  const launches = inPart(
    ENGINES.flatMap((engine) => EVERY_IMAGE.map((image) => ({ engine, image }))),
    ({ engine, image }) => engine === DOCKER || ["debian", "scratch"].includes(image),
  );

  test.each(launches)("$engine.name, image $image", async (launch) => {
    const result = await inThreeNodes(launch, ALL_PAIRS);
    expect(result.stderr).toBe("");
    expect(hopsOf(result)).toEqual(EVERY_HOP);
    expect(result.code).toBe(0);
  });

  test.each(inPart(LATE, ({ image }) => image === "bare"))(
    "$engine.name, image $image, node2's sockets open 5 s late",
    async (launch) => {
      const result = await inThreeNodes({ ...launch, options: ["--held-back", "node2=5000"] }, ALL_PAIRS);
      expect(result.stderr).toBe("");
      expect(hopsOf(result)).toEqual(EVERY_HOP);
      expect(result.code).toBe(0);
    },
  );
});

describe.concurrent("one node by all its names", () => {
  /** In each, JOB stands for the job's id. */
  const NAMES = ["node2", "NODE2", "node2.JOB.job", "Node2.JOB.Job", "ssh://node2", "gangway-test@node2.JOB.job"];
  const HEAD = ["node1", "JOB.job", "node1.JOB.job"];
  const address = "$(probe resolve node2)";

  test.each(ENGINES)("$name", async (engine) => {
    const way = (name: string) => `ssh ${name.replaceAll("JOB", "$GANGWAY_JOB_ID")} hostname`;
    const addresses = engine.bridged ? [address, `gangway-test@${address}`] : [];
    const script = [...NAMES, ...addresses, ...HEAD].map(way).join("\n");
    const options = ["--image", IMAGES.debian, "--nodes", "3"];
    const result = await gangway(["run", ...options, "--", "bash", "-c", script], { engine });
    const answers = [...NAMES, ...addresses].map(() => "node2").concat(HEAD.map(() => "node1"));
    expect(result).toMatchObject({ code: 0, stderr: "", stdout: answers.map((name) => `${name}\n`).join("") });
  });
});

describe.concurrent("a hop out of another program", () => {
  /** Each prints where it came out; ours is found, and the job's own PATH stays in the places where it looks. */
  const WAYS: Readonly<Record<string, string>> = {
    "its full path": "/usr/bin/ssh node2 hostname",
    "the full paths of scp and sftp":
      "echo node2 >/t/x; /usr/bin/scp /t/x node2:/t/y; echo 'get /t/y /t/z' | /usr/bin/sftp -q node2 >/t/log && cat /t/z",
    "a login shell, whose profile has set PATH anew":
      "bash -lc 'case $PATH in *:/job/first:*:/opt/udiImage/tools) ssh node2 hostname;; *) echo \"$PATH\";; esac'",
    "a login shell that finds what is ours":
      "bash -lc 'test \"$(command -v ssh)\" = /opt/udiImage/bin/ssh && ssh node2 hostname'",
    "a login shell on the other side": "ssh node2 'bash -lc \"ssh node3 ssh node2 hostname\"'",
    "no environment at all": "env -i /bin/sh -c 'ssh node2 hostname'",
    Python: `python3 -c "import subprocess as s; print(s.check_output(['ssh', 'node2', 'hostname'], text=True), end='')"`,
    "Python, by its full path, without a shell": `python3 -c "import os; os.execv('/usr/bin/ssh', ['ssh', 'node2', 'hostname'])"`,
    "rsync of the image": "echo node2 >/t/r; /usr/bin/rsync /t/r node2:/t/s; ssh node2 cat /t/s",
    "rsync by the full path of ssh": "rsync -e /usr/bin/ssh /t/r node2:/t/u; ssh node2 cat /t/u",
    "a chain of three": "ssh node3 ssh node1 ssh node2 hostname",
    "a jump": "ssh -J node3,node1 node2 hostname",
    "a configuration that says nothing": "ssh -F /dev/null node2 hostname",
    "options that would give up every check":
      "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR node2 hostname",
  };

  test.each([DOCKER, PODMAN])("$name", async (engine) => {
    const script = Object.values(WAYS).join("\n");
    const places = ["--tmpfs", "/t:mode=1777", "--env", "PATH=/job/first:/usr/local/bin:/usr/bin:/bin"];
    const words = ["--image", IMAGES.debian, "--nodes", "3", ...places, "--", "bash", "-c", script];
    const result = await gangway(["run", ...words], { engine });
    expect(result.stderr).toBe("");
    const answers = result.stdout.split("\n");
    expect(Object.fromEntries(Object.keys(WAYS).map((way, index) => [way, answers[index]]))).toEqual(
      Object.fromEntries(Object.keys(WAYS).map((way) => [way, "node2"])),
    );
    expect(result.code).toBe(0);
  });
});
