// Imports between the rooms of src/ point down only (docs/internals.md, section 1), and dockerode stays in src/engine.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const mayImport = {
  cli: ["job", "session", "access", "allocation", "udi", "engine", "config"],
  job: ["rendezvous", "allocation", "udi", "engine", "config"],
  session: ["job", "allocation", "udi", "engine", "config"],
  rendezvous: ["allocation", "config"],
  access: ["allocation", "udi", "engine", "config"],
  allocation: ["config"],
  udi: ["config"],
  engine: ["config"],
  config: [],
};
const onlyIn = { dockerode: "engine", "docker-modem": "engine", commander: "cli" };

const root = resolve(import.meta.dirname, "..", "src");
const faults = [];

function filesOf(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesOf(path) : path.endsWith(".ts") ? [path] : [];
  });
}

const roomOf = (path) => relative(root, path).split("/")[0];

for (const file of filesOf(root)) {
  const room = roomOf(file);
  const text = readFileSync(file, "utf8");
  for (const match of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g)) {
    const target = match[1];
    if (target.startsWith(".")) {
      const other = roomOf(resolve(dirname(file), target));
      if (other !== room && !(mayImport[room] ?? []).includes(other))
        faults.push(`${relative(root, file)}: ${room} must not import ${other} (${target})`);
    } else {
      const home = onlyIn[target.split("/")[0]];
      if (home !== undefined && home !== room) faults.push(`${relative(root, file)}: ${target} belongs in src/${home}`);
    }
  }
}

if (faults.length > 0) {
  console.error(faults.join("\n"));
  process.exit(1);
}
