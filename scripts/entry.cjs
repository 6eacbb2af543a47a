"use strict";
// dist/gangway.cjs: runs a command's own bundle (run.cjs, node.cjs), else program.cjs, with the code that V8 made of it when it was
// bundled. That saves a launch 12 ms of compiling. Another version of Node than the one that bundled refuses it and compiles
// for itself.
const { readFileSync, writeSync } = require("node:fs");
const { Script } = require("node:vm");

/** Names by which the program may be called, each for the command of that name. What is started from here goes by ours. */
const NAMES = ["condor_ssh_to_job", "shifter"];
const called = process.argv[1].slice(process.argv[1].lastIndexOf("/") + 1);
if (NAMES.includes(called)) process.argv.splice(1, 1, __filename, called);

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
  const name = ALONE.includes(process.argv[2]) ? process.argv[2] : "program";
  const filename = `${__dirname}/${name}.cjs`;
  const source = readFileSync(filename, "utf8");
  let cachedData;
  try {
    cachedData = readFileSync(`${__dirname}/${name}.cache`);
  } catch {
    // It only costs time.
  }
  new Script(source, { filename, cachedData }).runInThisContext()(exports, require, module, filename, __dirname);
}

if (!overview()) program();
