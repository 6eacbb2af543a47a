import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { configReference } from "../../src/config/show.ts";

describe("the administrator's page", () => {
  it("has the reference of all settings, as the table has it", () => {
    expect(readFileSync("docs/administrator.md", "utf8")).toContain(configReference());
  });
});
