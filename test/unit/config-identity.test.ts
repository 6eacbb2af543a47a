import { expect, it } from "vitest";
import { asUser, callerIdentity } from "../../src/config/identity.ts";

const own = callerIdentity();

it("as oneself the work is just done", () => {
  expect(asUser(own, () => 7)).toBe(7);
  expect(() => asUser(own, () => expect.fail("why"))).toThrow("why");
  // @ts-expect-error work must be synchronous
  expect(() => asUser(own, () => Promise.resolve(1))).toThrow("must be synchronous");
});
