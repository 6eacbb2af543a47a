"use strict";
// dist/gangway.cjs: runs program.cjs, with the code that V8 made of it when it was bundled. That saves a launch 12 ms of
// compiling. Another version of Node than the one that bundled refuses it and compiles for itself.
const { readFileSync, writeSync } = require("node:fs");
const { Script } = require("node:vm");

/** The overview, which the program itself printed when it was bundled: people ask for it often, and it needs no program. */
function overview() {
  if (process.argv.length !== 3 || process.argv[2] !== "--help") return false;
  try {
    const text = readFileSync(`${__dirname}/overview.txt`);
    return writeSync(1, text) === text.length;
  } catch {
    // Nothing was written, then: the program knows what to say.
    return false;
  }
}

function program() {
  const filename = `${__dirname}/program.cjs`;
  const source = `(function(exports,require,module,__filename,__dirname){${readFileSync(filename, "utf8")}\n})`;
  let cachedData;
  try {
    cachedData = readFileSync(`${__dirname}/program.cache`);
  } catch {
    // It only costs time.
  }
  new Script(source, { filename, cachedData }).runInThisContext()(exports, require, module, filename, __dirname);
}

if (!overview()) program();
