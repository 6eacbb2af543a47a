// Bundles src/cli into dist/run.cjs, node.cjs, carried.cjs and ssh.cjs (the commands of that name, whose start is part of every launch, or session) and
// dist/program.cjs (all commands), and the larger packages that only some calls need into files beside them;
// dist/gangway.cjs, which starts one of them, is entry.cjs. dist/man has the manual pages.
//
// One file each, since each further module costs a launch half a millisecond, and CommonJS, since Node 20 starts an ES
// module 11 ms later. Modules that are imported dynamically are in it too, and evaluated when they are asked for.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8"));
const fresh = resolve(root, `build/dist-${process.pid}`);

/** The commands with a bundle of their own. */
const alone = ["run", "node", "carried", "ssh"];

/** Loaded from files of their own, by the modules of ours that import them. */
const apart = ["dockerode", "tar-stream", "smol-toml"];

/** Of Node's own: loaded when something of theirs is first used, which is while the engine is busy, or never. */
const late = [
  "node:child_process",
  "node:crypto",
  "node:dns/promises",
  "node:fs/promises",
  "node:tls",
  "node:v8",
  "node:zlib",
];

/** Writes what V8 makes of a program: of every function of it, those too that are not called here. */
function keepCode(file, cache) {
  const text = readFileSync(file, "utf8");
  setFlagsFromString("--no-lazy");
  const script = new Script(text);
  // The flags are part of what V8 compares when it is asked to take the result.
  setFlagsFromString("--lazy");
  writeFileSync(cache, script.createCachedData());
}

function exactly(names) {
  return new RegExp(`^(${names.join("|")})$`);
}

const packagesApart = {
  name: "packages-apart",
  setup(builder) {
    builder.onResolve({ filter: exactly(apart) }, ({ path, kind }) =>
      kind === "entry-point" ? undefined : { path: `./${path}.cjs`, external: true },
    );
  },
};

const lateBuiltins = {
  name: "late-builtins",
  setup(builder) {
    builder.onResolve({ filter: exactly(late) }, ({ path, namespace }) =>
      namespace === "late" ? { path, external: true } : { path, namespace: "late" },
    );
    builder.onLoad({ filter: /.*/, namespace: "late" }, ({ path }) => {
      // Asked by esbuild whether it was an ES module once, it need not be loaded to say no.
      const get = `(_, name) => (name === "__esModule" ? undefined : require(${JSON.stringify(path)})[name])`;
      // As a prototype: esbuild copies a module's own properties for each importer, and keeps its prototype.
      return { contents: `module.exports = Object.create(new Proxy({}, { get: ${get} }));`, loader: "js" };
    });
  },
};

/** Leaves the other commands out of a command's own bundle, which is never asked for them. */
function only(command) {
  return {
    name: "only",
    setup(builder) {
      builder.onResolve({ filter: /^\.\// }, ({ path, kind, importer }) =>
        kind === "dynamic-import" && importer.endsWith("/src/cli/main.ts") && path !== `./${command}.ts`
          ? { path: "./program.cjs", external: true }
          : undefined,
      );
    },
  };
}

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

/** Directories of the packages of others that are in a bundle. */
const packages = new Set();

async function bundle(options) {
  const { metafile } = await build({ ...options, metafile: true });
  for (const input of Object.keys(metafile.inputs)) {
    const [directory] = /^node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(input) ?? [];
    if (directory !== undefined) packages.add(directory);
  }
}

/** Their licences ask to be passed on with them. */
function licences() {
  return [...packages].sort().map((directory) => {
    const { name, version, license } = JSON.parse(readFileSync(resolve(root, directory, "package.json"), "utf8"));
    const file = readdirSync(resolve(root, directory)).find((each) => /^(licen[cs]e|copying)/i.test(each));
    const text = file === undefined ? "" : `\n\n${readFileSync(resolve(root, directory, file), "utf8").trim()}`;
    return `${name} ${version} (${license})${text}\n`;
  });
}

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

// The shape in which entry.cjs runs them: put together there, each launch would copy the text once more.
const program = {
  ...common,
  banner: { js: "(function(exports,require,module,__filename,__dirname){" },
  footer: { js: "})" },
  define: { GANGWAY_VERSION: JSON.stringify(version), "import.meta.dirname": "__dirname" },
};
await bundle({
  ...program,
  entryPoints: { program: "src/cli/gangway.ts" },
  plugins: [packagesApart, lateBuiltins],
});
for (const command of alone) {
  await bundle({
    ...program,
    entryPoints: { [command]: "src/cli/gangway.ts" },
    plugins: [packagesApart, lateBuiltins, only(command)],
  });
}
await bundle({
  ...common,
  entryPoints: Object.fromEntries(apart.map((name) => [name, name])),
  plugins: [unused],
});

const entry = readFileSync(resolve(import.meta.dirname, "entry.cjs"), "utf8").replace("ALONE", JSON.stringify(alone));
// Behind "--" Node leaves the words alone: it would take --env-file, which is ours, for its own. Options of Node's own must
// not stand here: with them it refuses the code that it has of its own modules.
writeFileSync(resolve(fresh, "gangway.cjs"), `#!/usr/bin/env -S node --\n${entry}`, { mode: 0o755 });

for (const name of [...alone, "program"]) keepCode(resolve(fresh, `${name}.cjs`), resolve(fresh, `${name}.cache`));

writeFileSync(
  resolve(fresh, "overview.txt"),
  execFileSync(process.execPath, [resolve(fresh, "gangway.cjs"), "--help"]),
);

mkdirSync(resolve(fresh, "man"));
execFileSync(process.execPath, [resolve(fresh, "gangway.cjs"), "man", "--write", resolve(fresh, "man")]);

writeFileSync(resolve(fresh, "licences.txt"), licences().join(`\n${"-".repeat(72)}\n\n`));

rmSync(resolve(root, "dist"), { recursive: true, force: true });
renameSync(fresh, resolve(root, "dist"));
