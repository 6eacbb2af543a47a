import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EngineError } from "../../src/config/errors.ts";
import type { Engine } from "../../src/engine/types.ts";
import { inPart } from "../whole.ts";
import { importImage, open, removeImages, testEngines } from "./support.ts";

type Entry = {
  readonly name: string;
  readonly content?: string | Buffer;
  readonly link?: string;
  readonly mode?: number;
};

/** A root file system of these entries; a name that ends with a slash is a directory. */
async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, content, link, mode } of entries) {
    if (link !== undefined) archive.entry({ name, type: "symlink", linkname: link });
    else if (name.endsWith("/")) archive.entry({ name, type: "directory", mode: 0o755 });
    else archive.entry({ name, mode: mode ?? 0o644 }, content ?? "");
  }
  archive.finalize();
  return await buffer(archive);
}

const LINKS = "gangway-test/engine-links:latest";
const MOVED = "gangway-test/engine-moved:latest";
const HUGE = "gangway-test/engine-huge:latest";

// Both Podmans are one program.
describe.each(inPart(testEngines(), ({ name }) => name !== "podman"))("images on $name", (target) => {
  let engine: Engine;
  const idOf = async (name: string): Promise<string> => (await engine.inspectImage(name))?.id ?? "";
  const texts = (files: ReadonlyMap<string, { content: Buffer }>): Record<string, string> =>
    Object.fromEntries([...files].map(([path, { content }]) => [path, content.toString()]));

  beforeAll(async () => {
    engine = open(target);
    const links: Entry[] = [
      { name: "bin/" },
      { name: "bin/busybox", content: "x", mode: 0o755 },
      { name: "bin/sh", link: "busybox" },
      { name: "sbin", link: "bin" },
      { name: "etc/" },
      { name: "etc/passwd", content: "root:x:0:0\n", mode: 0o600 },
      { name: "etc/group", link: "../usr/lib/group" },
      { name: "etc/shells", link: "/data/shells" },
      { name: "etc/loop", link: "loop" },
      { name: "etc/outside", link: "../../../../../../etc/gangway-canary" },
      { name: "etc/dangling", link: "/nothing" },
      { name: "etc/named-otherwise", link: "group" },
      { name: "etc/profile.d/" },
      { name: "data", link: "usr/share" },
      { name: "usr/lib/group", content: "root:x:0:\n" },
      { name: "usr/share/shells", content: "/bin/sh\n" },
    ];
    await importImage(target.socket, LINKS, await tarOf(links), []);
    const moved: Entry[] = [
      { name: "usr/conf/passwd", content: "moved\n" },
      { name: "usr/conf/group", content: "moved too\n" },
      { name: "conf", link: "usr/conf" },
    ];
    await importImage(target.socket, MOVED, await tarOf(moved), []);
    const huge = await tarOf([
      { name: "etc/passwd", content: Buffer.alloc(17 << 20) },
      { name: "etc/group", content: "g" },
    ]);
    await importImage(target.socket, HUGE, huge, []);
  });

  afterEach(async () => {
    expect(await engine.list(["gangway.probe=1"])).toEqual([]);
  });

  afterAll(async () => {
    await removeImages(target.socket, LINKS, MOVED, HUGE);
    engine.close();
  });

  test("give their files, links followed within the image", async () => {
    const wanted = ["passwd", "group", "shells", "loop", "outside", "dangling", "missing"].map(
      (name) => `/etc/${name}`,
    );
    const { files } = await engine.examineImage(await idOf(LINKS), { files: [...wanted, "/etc/profile.d"], stats: [] });
    expect(texts(files)).toEqual({
      "/etc/passwd": "root:x:0:0\n",
      "/etc/group": "root:x:0:\n",
      "/etc/shells": "/bin/sh\n",
    });
    expect(files.get("/etc/passwd")?.mode).toBe(0o600);
  });

  test("give single files too", async () => {
    const id = await idOf(LINKS);
    const paths = ["/data/shells", "/etc/named-otherwise", "/bin/sh", "/usr/no", "/sbin/sh/no"];
    for (const path of paths) {
      const { files } = await engine.examineImage(id, { files: [path], stats: [] });
      expect([path, files.get(path)?.content.toString()]).toEqual([
        path,
        { "/data/shells": "/bin/sh\n", "/etc/named-otherwise": "root:x:0:\n", "/bin/sh": "x" }[path],
      ]);
    }
    const loop = await engine.examineImage(id, { files: ["/etc/loop/x"], stats: ["/etc/loop/x"] });
    expect([loop.files.size, loop.kinds.size]).toEqual([0, 0]);
  });

  test("tell what their paths are, links followed within the image", async () => {
    const stats = [
      "/bin/sh",
      "/sbin/sh",
      "/bin",
      "/sbin",
      "/etc/profile.d",
      "/etc/loop",
      "/etc/dangling",
      "/etc/outside",
      "/no",
    ];
    const { kinds } = await engine.examineImage(await idOf(LINKS), { files: [], stats: [...stats, "/bin/sh"] });
    expect(Object.fromEntries(kinds)).toEqual({
      "/bin/sh": "file",
      "/sbin/sh": "file",
      "/bin": "directory",
      "/sbin": "directory",
      "/etc/profile.d": "directory",
    });
  });

  test("may have the directory elsewhere", async () => {
    const { files } = await engine.examineImage(await idOf(MOVED), {
      files: ["/conf/passwd", "/conf/group"],
      stats: [],
    });
    expect(texts(files)).toEqual({ "/conf/passwd": "moved\n", "/conf/group": "moved too\n" });
  });

  test("are not believed when a file is huge, and nothing is left behind then", async () => {
    const id = await idOf(HUGE);
    const examined = engine.examineImage(id, { files: ["/etc/passwd", "/etc/group"], stats: [] });
    await expect(examined).rejects.toThrow(EngineError);
    await expect(examined).rejects.toThrow(/\/etc\/passwd is larger/);
  });

  test("that are not there cannot be looked into", async () => {
    await expect(engine.examineImage("gangway-test/nobody-made-this", { files: [], stats: [] })).rejects.toThrow(
      EngineError,
    );
  });
});
