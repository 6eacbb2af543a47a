import { defineConfig } from "vitest/config";

/** Tests of one kind. Files share their worker's modules: they leave no state in them, and start faster. */
function project(name: string, seconds: number, hookSeconds = 10) {
  const include = [`test/${name}/**/*.test.ts`];
  return { name, include, isolate: false, testTimeout: seconds * 1000, hookTimeout: hookSeconds * 1000 };
}

/** Of those that share an engine, one file runs at a time. */
const inTurn = { fileParallelism: false };

// "unit" needs nothing but Node and ssh-keygen; "root" has to be root; "oracle" asks
// other people's programs; the others run against real engines (make test).
export default defineConfig({
  test: {
    projects: [
      { test: project("unit", 60) },
      { test: project("root", 60) },
      { test: project("oracle", 60) },
      { test: { ...project("siblings", 60), ...inTurn } },
      { test: { ...project("engine", 120, 120), ...inTurn } },
      { test: { ...project("job", 300, 300), ...inTurn } },
      { test: { ...project("inject", 300, 300), ...inTurn } },
      { test: { ...project("restart", 300, 300), ...inTurn } },
      { test: { ...project("cluster", 300, 300), ...inTurn } },
      { test: { ...project("condor", 180, 300), ...inTurn } },
      { test: { ...project("reach", 120, 120), ...inTurn } },
      { test: { ...project("soak", 1800, 300), ...inTurn } },
    ],
  },
});
