import { createContext, Script } from "node:vm";
import { array, assert, constantFrom, integer, property, string, tuple } from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/config/errors.ts";
import { noteOn, parseSocksAddress, parseUrlPattern, renderPac } from "../../src/session/pac.ts";

const SOCKS = "SOCKS5 localhost:7777";

/** What a browser's engine makes of the file: nothing but the language itself is there. */
function evaluator(patterns: readonly string[], socks = "localhost:7777"): (url: string, host?: string) => unknown {
  const context = createContext(Object.create(null) as object);
  new Script(renderPac(parseSocksAddress(socks), patterns.map(parseUrlPattern))).runInContext(context);
  return (url, host = "") =>
    new Script(`FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host)})`).runInContext(context) as unknown;
}

describe("a proxy auto-configuration", () => {
  it.each([
    // Pattern, what goes through the proxy, what does not.
    ["https://*.cluster/*", ["https://a.cluster/", "https://a.b.cluster:8443/", "wss://a.cluster/"]],
    ["*.job", ["http://node1.7.job/x?y", "https://7.job:8888/", "ftp://7.job/", "HTTP://NODE1.7.JOB/"]],
    ["http://n1:8888", ["http://n1:8888/", "ws://n1:8888/kernels"]],
    ["http://n1:80/*", ["http://n1/", "http://n1:80/a"]],
    ["https://n1:443", ["https://n1/", "https://n1:443/"]],
    ["*://n1:*/*", ["http://n1/", "https://n1:1/"]],
    ["http://[::1]:8080/", ["http://[::1]:8080/x"]],
    ["http://n1/app/*.html", ["http://n1/app/a/b.html"]],
    ["n*1.x", ["http://n1.x/", "http://node1.x/", "http://n.1.x./"]],
  ])("%s sends through the proxy what fits", (pattern, urls) => {
    const find = evaluator([pattern]);
    for (const url of urls) expect([url, find(url)]).toEqual([url, SOCKS]);
  });

  it.each([
    ["https://*.cluster/*", ["http://a.cluster/", "https://cluster/", "https://a.cluster.org/", "https://x/.cluster/"]],
    ["*.job", ["http://job/", "http://a.job.org/", "http://a@b.org/.job", "http://x?y.job", "http://ajob/"]],
    ["http://n1:8888", ["http://n1/", "https://n1:8888/", "http://n1:88880/", "http://an1:8888/"]],
    ["http://n1/app/*.html", ["http://n1/", "http://n1/app/a.htm", "http://n1/appx/a.html"]],
    ["n.x", ["http://nax/", "about:blank", "", "file:///n.x", "http://n.x@y/"]],
  ])("%s leaves the rest to go directly", (pattern, urls) => {
    const find = evaluator([pattern]);
    for (const url of urls) expect([url, find(url)]).toEqual([url, "DIRECT"]);
  });

  it("goes by any of several patterns, and names the proxy as it was named", () => {
    const find = evaluator(["a", "b"], "[::1]:9");
    expect(["http://a/", "http://b/", "http://c/"].map((url) => find(url))).toEqual([
      "SOCKS5 [::1]:9",
      "SOCKS5 [::1]:9",
      "DIRECT",
    ]);
    expect(evaluator(["a"], "1080")("http://a/")).toBe("SOCKS5 localhost:1080");
  });

  it("does not take the second argument for the host: some give it with, some without a port or brackets", () => {
    expect(evaluator(["a"])("http://b/", "a")).toBe("DIRECT");
  });

  it("fits a host exactly where its text does, an asterisk standing for any", () => {
    const host = array(constantFrom("a", "b", ".", "-", "1"), { minLength: 1, maxLength: 8 }).map((all) =>
      all.join(""),
    );
    const glob = array(constantFrom("a", "b", ".", "-", "1", "*"), { minLength: 1, maxLength: 8 });
    const fits = (pattern: readonly string[], text: string): boolean => {
      const [first, ...rest] = pattern;
      if (first === undefined) return text === "";
      if (first === "*") return fits(rest, text) || (text !== "" && fits(pattern, text.slice(1)));
      return text.startsWith(first) && fits(rest, text.slice(1));
    };
    assert(
      property(glob, host, (pattern, text) => {
        // A name with a dot at its end is the same one.
        const expected = fits(pattern, text.replace(/\.$/, "")) ? SOCKS : "DIRECT";
        expect(evaluator([pattern.join("")])(`http://${text}/`)).toBe(expected);
      }),
    );
  });

  it("cannot be made to hold anything but patterns, whatever they are", () => {
    const hostile = string({
      unit: constantFrom(..."/*\\\"'`()[]{};:$\n\r\u2028.a1-_ ?^|+", "*/", "//"),
      maxLength: 20,
    });
    assert(
      property(tuple(hostile, hostile, integer({ min: 0, max: 1 })), ([one, two, slash]) => {
        const text = `${one}${slash === 1 ? "/" : ""}${two}`;
        let pattern: ReturnType<typeof parseUrlPattern>;
        try {
          pattern = parseUrlPattern(text);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          return;
        }
        const context = createContext(Object.create(null) as object);
        new Script(renderPac({ host: "h", port: 1 }, [pattern])).runInContext(context);
        // It defines its function, and does nothing else.
        expect(Object.keys(context)).toEqual(["FindProxyForURL"]);
        expect(["SOCKS5 h:1", "DIRECT"]).toContain(
          new Script('FindProxyForURL("http://a.b/c", "a.b")').runInContext(context),
        );
      }),
      { numRuns: 1000 },
    );
  });
});

describe("what is no pattern, or no address", () => {
  it.each([
    ["", /names no host/],
    ["https://", /names no host/],
    ["gopher://x", /"gopher" is no scheme.*/],
    ["http://a b/", /no name of hosts/],
    ["http://a@b/", /no name of hosts/],
    ["bücher.example", /no name of hosts/],
    ["http://a:x/", /"x" is no port/],
    ["a:0", /"0" is no port/],
    ["[::g]", /no IPv6 address/],
    ["http://a/#x", /what no URL has/],
  ])("%j is refused", (text, message) => {
    expect(() => parseUrlPattern(text)).toThrow(message);
  });

  it.each(["", "x", "localhost:", "localhost:70000", "a b:1", "[1.2.3.4]:1", 'x";:1', "::1:9"])(
    "%j is refused",
    (text) => {
      expect(() => parseSocksAddress(text)).toThrow(UsageError);
    },
  );
});

describe("what is said of a pattern", () => {
  it.each([
    ["https://a/x/*", /counts for nothing: browsers tell only the host of https/],
    ["a/x", /for http alone/],
    ["localhost:8888", /browsers ask no proxy for localhost/],
  ])("%s", (text, note) => {
    expect(noteOn(parseUrlPattern(text))).toMatch(note);
  });

  it("nothing, where browsers can do what it says", () => {
    for (const text of ["https://*.cluster/*", "*", "http://a:8888"])
      expect(noteOn(parseUrlPattern(text))).toBeUndefined();
  });
});
