// Bundles src/cli into dist/program.cjs, and the larger packages that only some calls need into files beside it;
// dist/gangway.cjs, which starts it, is entry.cjs.
//
// One file, since each further module costs a launch half a millisecond, and CommonJS, since Node 20 starts an ES module
// 11 ms later. Modules that are imported dynamically are in it too, and evaluated when they are asked for.
import { execFileSync } from "node:child_process";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8"));
const fresh = resolve(root, `build/dist-${process.pid}`);

/** Loaded from files of their own, by the modules of ours that import them. */
const apart = ["dockerode", "tar-stream", "smol-toml"];

const packagesApart = {
  name: "packages-apart",
  setup(builder) {
    builder.onResolve({ filter: new RegExp(`^(${apart.join("|")})$`) }, ({ path, kind }) =>
      kind === "entry-point" ? undefined : { path: `./${path}.cjs`, external: true },
    );
  },
};

// dockerode drags these in for BuildKit sessions and for DOCKER_HOST=ssh://, neither of which is used here.
const unused = {
  name: "unused",
  setup(builder) {
    builder.onResolve(
      { filter: /^(@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|ssh2|cpu-features)(\/.*)?$/ },
      ({ path }) => ({
        path,
        namespace: "unused",
      }),
    );
    builder.onLoad({ filter: /.*/, namespace: "unused" }, () => ({ contents: "module.exports = {};", loader: "js" }));
  },
};

const common = {
  absWorkingDir: root,
  outdir: fresh,
  outExtension: { ".js": ".cjs" },
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  // A dynamic import would start Node's loader of ES modules.
  supported: { "dynamic-import": false },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
};

await build({
  ...common,
  entryPoints: { program: "src/cli/gangway.ts" },
  define: { GANGWAY_VERSION: JSON.stringify(version), "import.meta.dirname": "__dirname" },
  plugins: [packagesApart],
});
await build({
  ...common,
  entryPoints: Object.fromEntries(apart.map((name) => [name, name])),
  plugins: [unused],
});

const entry = readFileSync(resolve(import.meta.dirname, "entry.cjs"), "utf8");
// Behind "--" Node leaves the words alone: it would take --env-file, which is ours, for its own.
writeFileSync(resolve(fresh, "gangway.cjs"), `#!/usr/bin/env -S node --\n${entry}`, { mode: 0o755 });

// What V8 makes of a text shaped as entry.cjs has it, every function of it, those too that are not called here.
const program = readFileSync(resolve(fresh, "program.cjs"), "utf8");
setFlagsFromString("--no-lazy");
const script = new Script(`(function(exports,require,module,__filename,__dirname){${program}\n})`);
// The flags are part of what V8 compares when it is asked to take the result.
setFlagsFromString("--lazy");
writeFileSync(resolve(fresh, "program.cache"), script.createCachedData());

writeFileSync(
  resolve(fresh, "overview.txt"),
  execFileSync(process.execPath, [resolve(fresh, "gangway.cjs"), "--help"]),
);

rmSync(resolve(root, "dist"), { recursive: true, force: true });
renameSync(fresh, resolve(root, "dist"));
