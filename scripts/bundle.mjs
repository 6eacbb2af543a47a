// Bundles src/cli into dist/: one small entry, a chunk for each command, so that only what is needed is parsed.
import { chmodSync, readFileSync, renameSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8"));
const fresh = resolve(root, `build/dist-${process.pid}`);

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

await build({
  entryPoints: { gangway: resolve(root, "src/cli/gangway.ts") },
  outdir: fresh,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  define: { GANGWAY_VERSION: JSON.stringify(version) },
  plugins: [unused],
  banner: {
    // CommonJS packages inside an ES module: these three names are theirs.
    js: [
      // Behind "--" Node leaves the words alone: it would take --env-file, which is ours, for its own.
      "#!/usr/bin/env -S node --",
      'import { createRequire as gangwayCreateRequire } from "node:module";',
      'import { fileURLToPath as gangwayFileURLToPath } from "node:url";',
      "const require = gangwayCreateRequire(import.meta.url);",
      "const __filename = gangwayFileURLToPath(import.meta.url);",
      "const __dirname = import.meta.dirname;",
    ].join("\n"),
  },
});
chmodSync(resolve(fresh, "gangway.mjs"), 0o755);
rmSync(resolve(root, "dist"), { recursive: true, force: true });
renameSync(fresh, resolve(root, "dist"));
