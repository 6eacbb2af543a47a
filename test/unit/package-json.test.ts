import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { COMMANDS } from "../../src/cli/main.ts";

it("package.json names the manual page of each command: npm installs no others", () => {
  const { man } = JSON.parse(readFileSync(resolve("package.json"), "utf8")) as { man: string[] };
  const shown = Object.keys(COMMANDS).filter((name) => COMMANDS[name]?.hidden === undefined);
  const pages = ["gangway", ...shown.map((name) => `gangway-${name}`)].map((page) => `./dist/man/${page}.1`);
  expect(man.toSorted()).toEqual(pages.toSorted());
});
