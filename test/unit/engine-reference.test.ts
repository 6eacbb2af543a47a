import { describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import { parseReference } from "../../src/engine/reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("parseReference", () => {
  test.each([
    ["debian", "docker.io", "library/debian", "debian", "latest"],
    ["debian:12", "docker.io", "library/debian", "debian", "12"],
    ["group/app", "docker.io", "group/app", "group/app", "latest"],
    ["docker.io/debian", "docker.io", "library/debian", "docker.io/debian", "latest"],
    ["index.docker.io/group/app:1", "docker.io", "group/app", "index.docker.io/group/app", "1"],
    ["ghcr.io/a/b/c:v1.0", "ghcr.io", "a/b/c", "ghcr.io/a/b/c", "v1.0"],
    ["localhost/app", "localhost", "app", "localhost/app", "latest"],
    ["127.0.0.1:5000/app", "127.0.0.1:5000", "app", "127.0.0.1:5000/app", "latest"],
    ["[::1]:5000/app:x", "[::1]:5000", "app", "[::1]:5000/app", "x"],
    [`app@${DIGEST}`, "docker.io", "library/app", "app", DIGEST],
    [`host:1/app:tag@${DIGEST}`, "host:1", "app", "host:1/app", DIGEST],
  ])("takes %s apart", (reference, registry, repository, name, tag) => {
    expect(parseReference(reference)).toEqual({ registry, repository, name, tag });
  });

  test.each([
    "",
    "Upper",
    "a b",
    "app:",
    "app:ta g",
    "/app",
    "app/",
    "a//b",
    "app@sha256:short",
    `a@${DIGEST}@${DIGEST}`,
    "http://host/app",
    "-a",
  ])("refuses %j", (reference) => {
    expect(() => parseReference(reference)).toThrow(EngineError);
  });
});
