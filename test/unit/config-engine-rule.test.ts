import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandEngineRule, isPerUser, parseEngineRule } from "../../src/config/engine-rule.ts";
import { UsageError } from "../../src/config/errors.ts";
import { parseEngine } from "../../src/config/parse-container.ts";

const where = { kind: "flag", name: "--engine" } as const;
const ann = { uid: 4711, name: "ann", home: "/home/ann" };

describe("an engine for each user, by one rule", () => {
  it.each([
    ["unix:///run/user/%U/podman/podman.sock", "/run/user/4711/podman/podman.sock"],
    ["unix:///run/podman-%u/podman.sock", "/run/podman-ann/podman.sock"],
    ["unix://%h/.podman/podman.sock", "/home/ann/.podman/podman.sock"],
    ["/run/%%U/docker.sock", "/run/%U/docker.sock"],
    ["/run/docker.sock", "/run/docker.sock"],
  ])("%s is %s", (written, socket) => {
    expect(expandEngineRule(parseEngine(written, where), ann)).toBe(socket);
  });

  it("tells a rule that names one engine for each from one that names one for all", () => {
    for (const rule of ["/run/%U/x", "/run/%u", "%h/x", "/%%%U"]) expect(isPerUser(rule)).toBe(true);
    for (const rule of ["/run/docker.sock", "/run/%%U/x", "/%%"]) expect(isPerUser(rule)).toBe(false);
  });

  it.each([
    ["/run/%i/x", '--engine: "/run/%i/x": %i means nothing'],
    ["/run/x%", '--engine: "/run/x%": % means nothing'],
    ["/run/%%%d", '--engine: "/run/%%%d": %d means nothing'],
    ["%U/x", '--engine: "%U/x" is not an absolute path'],
    ["%hx", '--engine: "%hx" is not an absolute path'],
    ["run/x", '--engine: "run/x" is not an absolute path'],
  ])("%s is refused", (rule, message) => {
    expect(() => parseEngineRule(rule, where)).toThrow(UsageError);
    expect(() => parseEngineRule(rule, where)).toThrow(message);
  });

  it("leaves a path as it is when each % in it is doubled", () => {
    const part = fc.stringMatching(/^[A-Za-z0-9%_-]{1,12}$/);
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
        const path = `/${parts.join("/")}`;
        const rule = parseEngineRule(path.replaceAll("%", "%%"), where);
        expect(isPerUser(rule)).toBe(false);
        expect(expandEngineRule(rule, ann)).toBe(path);
      }),
    );
  });
});
