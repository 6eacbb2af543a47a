import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as shape from "../../src/job/shape.ts";

const person = shape.object<{ name: string; age?: number }>({
  name: shape.text,
  age: shape.optional(shape.whole(0, 150)),
});

describe("a shape", () => {
  it.each<[string, shape.Shape<unknown>, unknown, string]>([
    ["text", shape.text, 7, "x is no text"],
    ["line", shape.line, "a\nb", "x is no line"],
    ["line, with an escape", shape.line, "\u001b[2J", "x is no line"],
    ["flag", shape.flag, "true", "x is no truth value"],
    ["whole", shape.whole(1, 3), 4, "x is no whole number from 1 to 3"],
    ["whole, of a fraction", shape.whole(1, 3), 1.5, "x is no whole number from 1 to 3"],
    ["whole, of text", shape.whole(1, 3), "2", "x is no whole number from 1 to 3"],
    ["amount", shape.amount, -1, "x is no number"],
    ["amount, without an end", shape.amount, Number.POSITIVE_INFINITY, "x is no number"],
    ["one of", shape.oneOf("a", "b"), "c", "x is no a, or b"],
    ["either", shape.either(shape.flag, shape.text), 1, "x is no text"],
    ["list", shape.list(shape.text), { length: 1 }, "x is no list"],
    ["entry of a list", shape.list(shape.text), ["a", 1], "x[1] is no text"],
    ["table", shape.table(shape.text), [], "x is no object"],
    ["entry of a table", shape.table(shape.text), { a: "b", c: null }, "x.c is no text"],
    ["object", person, null, "x is no object"],
    ["part of an object", person, {}, "x.name is no text"],
    ["optional part", person, { name: "a", age: null }, "x.age is no whole number from 0 to 150"],
  ])("%s: what is wrong, and where", (_name, parse, value, message) => {
    expect(() => parse(value, "x")).toThrow(shape.ProtocolError);
    expect(() => parse(value, "x")).toThrow(`what was received is not understood: ${message}`);
  });

  it("makes an object of the parts that it knows, and no others", () => {
    expect(person(JSON.parse('{"name":"a","age":7,"admin":true,"__proto__":{"x":1}}'), "x")).toStrictEqual({
      name: "a",
      age: 7,
    });
    expect(person({ name: "a" }, "x")).toStrictEqual({ name: "a" });
  });

  it("takes no part from a prototype", () => {
    expect(() => person(Object.create({ name: "a" }), "x")).toThrow("x.name is no text");
  });

  it("keeps names of a table that mean something to JavaScript", () => {
    const made = shape.table(shape.text)(JSON.parse('{"__proto__":"a","constructor":"b"}'), "x");
    expect(Object.entries(made)).toEqual([
      ["__proto__", "a"],
      ["constructor", "b"],
    ]);
    expect(Object.getPrototypeOf(made)).toBe(Object.prototype);
  });

  it("says of any value that it is one, or what is wrong, and throws nothing else", () => {
    const parse = shape.object<{ a: string; b: readonly number[] }>({
      a: shape.text,
      b: shape.list(shape.whole(0, 9)),
    });
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.record({ a: fc.anything(), b: fc.anything() })), (value) => {
        try {
          const { a, b } = parse(value, "x");
          expect(typeof a).toBe("string");
          for (const each of b) expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).toContain(each);
        } catch (error) {
          expect(error).toBeInstanceOf(shape.ProtocolError);
        }
      }),
    );
  });
});
