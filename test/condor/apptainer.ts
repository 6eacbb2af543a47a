import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, type RunResult } from "../job/harness.ts";
import { asRoot, place, runThere } from "./condor.ts";

const BARE = join(import.meta.dirname, "../../build/images/bare.tar");
/** What the container's program has to be. */
export const INIT = "/opt/udiImage/libexec/init";

/**
 * Makes images of Apptainer's out of the image "bare": as a directory that it has prepared, with the few files that each
 * Linux has, and, without these, as one file.
 */
export function makeImages(): { readonly linux: string; readonly nothing: string } {
  const images = join(place(), "images");
  const root = join(images, "root");
  rmSync(images, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  execFileSync("tar", ["-x", "-C", root, "-f", BARE]);
  const [linux, nothing] = [join(images, "linux"), join(images, "nothing.sif")];
  for (const directory of ["dev", "proc"]) mkdirSync(join(root, directory));
  build(nothing, root);
  for (const directory of ["etc", "etc/profile.d", "sys", "tmp", "home", "root", "run"])
    mkdirSync(join(root, directory));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nimage:x:77:77:of the image:/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\n");
  writeFileSync(join(root, "etc/profile"), "PATH=/usr/bin:/bin\nfor f in /etc/profile.d/*.sh; do . $f; done\n");
  build("--sandbox", linux, root);
  return { linux, nothing };
}

function build(...words: readonly string[]): void {
  asRoot(["apptainer", "-q", "build", ...words]);
}

/** A job of `attach-runtime` that runs until it is ended. */
export class AttachedJob {
  readonly name: string;
  readonly ended: Promise<RunResult>;

  /** @param script for a shell in the container, behind which it waits for the file `go` in its directory */
  constructor(name: string, image: string, script: string, words: readonly string[] = []) {
    this.name = name;
    const waiting = `${script}\nwhile [ ! -e go-${name} ]; do sleep 0.1; done; rm go-${name}; exit 5`;
    const line = [...words, "--", "apptainer", "-q", "exec", image, INIT, "--", "sh", "-c", waiting];
    this.ended = runThere(["gangway", "attach-runtime", "--name", name, ...line]);
  }

  async running(): Promise<void> {
    await eventually(`job ${this.name} runs`, 30, async () => {
      const { stdout } = await runThere(["gangway", "ps"]);
      return stdout.split("\n").some((line) => line.startsWith(`${this.name} `) && line.includes(" running "));
    });
  }

  async session(...words: readonly string[]): Promise<RunResult> {
    return await runThere(["gangway", "ssh", this.name, ...words]);
  }

  /** The process of its launcher. */
  get launcher(): string {
    return asRoot(["pgrep", "-f", `^node .*attach-runtime --name ${this.name} `]).trim();
  }
}
