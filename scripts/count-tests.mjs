// count-tests.mjs RESULT… - adds up vitest's JSON results in one closing line, after what failed: first each with its reason, then,
// as the end of a long log is what is looked at, their names alone; fails where a test failed or was skipped.
import { readFileSync } from "node:fs";

let passed = 0;
let skipped = 0;
const failures = [];
for (const file of process.argv.slice(2)) {
  const result = JSON.parse(readFileSync(file, "utf8"));
  passed += result.numPassedTests;
  skipped += result.numPendingTests + result.numTodoTests;
  for (const suite of result.testResults) {
    const path = suite.name.replace(/^.*\/test\//, "test/");
    const failed = suite.assertionResults.filter((test) => test.status === "failed");
    for (const test of failed) {
      const name = `${path}: ${test.fullName}`;
      failures.push({ name, reasons: test.failureMessages.map(reason) });
    }
    if (suite.status === "failed" && failed.length === 0)
      failures.push({ name: `${path}: as a whole`, reasons: [reason(suite.message)] });
  }
}
for (const { name, reasons } of failures) console.log(`failed: ${name}\n${reasons.join("\n")}`);
for (const { name, reasons } of failures) console.log(`failed: ${name} (${reasons[0]?.trim().split("\n", 1)[0]})`);
console.log(`${passed} passed, ${failures.length} failed, ${skipped} skipped`);
process.exit(passed > 0 && failures.length === 0 && skipped === 0 ? 0 : 1);

/** What a test said, enough to tell its cause: without the stack beyond its own line. */
function reason(message) {
  const own = message.split("\n").filter((line) => !/^\s+at .*(node_modules|node:internal)/.test(line));
  return own
    .slice(0, 12)
    .map((line) => `  ${line}`)
    .join("\n")
    .slice(0, 1000);
}
