import { DIFFERENT_ENGINES, DOCKER, GANGWAY, gangway, IMAGES, type RunOptions, start } from "./harness.ts";

export const OTHER_ENGINES = DIFFERENT_ENGINES.filter((engine) => engine !== DOCKER);

/** `gangway run` of a command, in the bare image unless another is named. */
export async function launch(
  command: readonly string[],
  options: RunOptions & { image?: string; words?: readonly string[] } = {},
) {
  const { image = IMAGES.bare, words = [], ...rest } = options;
  return await gangway(["run", "--image", image, ...words, "--", ...command], rest);
}

/** A few at a time: the machine may be small. */
export async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<[T, R][]> {
  const results = new Map<T, R>();
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.set(item, await work(item));
  };
  await Promise.all([worker(), worker(), worker()]);
  return items.map((item) => [item, results.get(item) as R]);
}

/** Starts `gangway …` and waits until it has printed something that matches. */
export async function startAndHear(words: readonly string[], pattern: RegExp, options: RunOptions = {}) {
  const child = start([GANGWAY, ...words], options);
  const result = { stdout: "", stderr: "", code: -1 };
  child.stdin.on("error", () => undefined);
  const heard = new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      result.stdout += chunk.toString();
      if (pattern.test(result.stdout)) resolve();
    });
  });
  child.stderr.on("data", (chunk: Buffer) => {
    result.stderr += chunk.toString();
  });
  const ended = new Promise<typeof result>((resolve) => {
    child.once("close", (code) => {
      result.code = code ?? -1;
      resolve(result);
    });
  });
  await Promise.race([heard, ended]);
  return { child, ended };
}
