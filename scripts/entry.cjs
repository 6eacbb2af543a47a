"use strict";
// dist/gangway.cjs: runs program.cjs, with the code that V8 made of it when it was bundled. That saves a launch 12 ms of
// compiling. Another version of Node than the one that bundled refuses it and compiles for itself.
const { readFileSync } = require("node:fs");
const { Script } = require("node:vm");

const filename = `${__dirname}/program.cjs`;
const source = `(function(exports,require,module,__filename,__dirname){${readFileSync(filename, "utf8")}\n})`;
let cachedData;
try {
  cachedData = readFileSync(`${__dirname}/program.cache`);
} catch {
  // It only costs time.
}
new Script(source, { filename, cachedData }).runInThisContext()(exports, require, module, filename, __dirname);
