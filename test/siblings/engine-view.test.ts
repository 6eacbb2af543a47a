// Whose mounts an engine has: those of its threads, not of one that has gone into a container.
import { type ChildProcess, spawn } from "node:child_process";
import { chownSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { viewOfEngine } from "../../src/job/engine-view.ts";
import { buildAll, cleanUp, makeDirectory } from "./helpers.ts";

const { connector } = buildAll();
let engine: ChildProcess | undefined;

afterEach(async () => {
  engine?.kill("SIGKILL");
  await cleanUp();
});

// unshare(2): CLONE_NEWNS, in a process of several threads for the one that calls it alone.
const ENGINE = `
import ctypes, os, socket, sys, threading, time
path, hidden, everyone = sys.argv[1], sys.argv[2], sys.argv[3] == "all"
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
libc = ctypes.CDLL(None, use_errno=True)
def enter():
    if libc.unshare(0x00020000) != 0: os._exit(1)
    if libc.mount(None, b"/", None, 0x44000, None) != 0: os._exit(1)
    if libc.mount(b"tmpfs", hidden.encode(), b"tmpfs", 0, None) != 0: os._exit(1)
def other():
    if everyone: enter()
    time.sleep(600)
for _ in range(3): threading.Thread(target=other, daemon=True).start()
enter()
time.sleep(0.2)
print("ready", flush=True)
while True: listener.accept()
`;

/** An engine whose first thread has other mounts, or all threads have. */
async function start(which: "first" | "all"): Promise<{ socket: string; udiImage: string; path: string }> {
  const place = makeDirectory();
  const [socket, udiImage, path] = [join(place, "socket"), join(place, "udiImage"), join(place, "job")];
  mkdirSync(join(udiImage, "libexec"), { recursive: true });
  symlinkSync(connector, join(udiImage, "libexec/connector"));
  mkdirSync(path);
  const child = spawn("python3", ["-c", ENGINE, socket, path, which], { stdio: ["ignore", "pipe", "inherit"] });
  engine = child;
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
  // Not root's, which is where the machine's first process is.
  chownSync(socket, 65_534, 65_534);
  return { socket, udiImage, path };
}

it("are those of most of its threads, where Podman has left the first in a container's", async () => {
  const { socket, udiImage, path } = await start("first");
  expect(viewOfEngine(socket, udiImage).pathOf(path)).toBe(path);
});

it("are its own, where all of it has others", async () => {
  const { socket, udiImage, path } = await start("all");
  expect(viewOfEngine(socket, udiImage).pathOf(path)).toBeUndefined();
});
