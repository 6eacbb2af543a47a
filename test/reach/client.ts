import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, type RunOptions, type RunResult, run, start, UDI_IMAGE, USER } from "../job/harness.ts";
import { HeldJob, type HeldOptions } from "../job/held.ts";

/** A way to reach a job's nodes: what stands before the kit's configuration, in which the first value wins. */
export interface Way {
  readonly name: string;
  config(job: HeldJob): string;
}

interface Record {
  readonly nodes: readonly { readonly name: string; readonly port: number; readonly addresses: readonly string[] }[];
}

/** The kit as it is: by the unix socket, through the connector. */
export const SOCKET: Way = { name: "socket", config: () => "" };

/** By init's port. The host key is checked against the kit's HostKeyAlias, as before. */
export const TCP: Way = {
  name: "tcp",
  config: (job) => {
    const { nodes } = JSON.parse(readFileSync(join(job.directory, "job.json"), "utf8")) as Record;
    const block = ({ name, port, addresses: [address = ""] }: Record["nodes"][number], head: boolean) => [
      `Host ${name}.${job.id}.job${head ? ` ${job.id}.job` : ""}`,
      ...["ProxyCommand none", "ProxyUseFdpass no", `HostName ${address}`, `Port ${port}`],
    ];
    return nodes.flatMap((node, index) => block(node, index === 0)).join("\n");
  },
};

export const WAYS: readonly Way[] = [SOCKET, TCP];

/** Whose OpenSSH is the client: the directory with its ssh, scp and sftp. */
export interface Programs {
  readonly name: string;
  readonly bin: string;
}

export const STOCK: Programs = { name: "the distribution's OpenSSH", bin: "/usr/bin" };
export const OURS: Programs = { name: "our OpenSSH", bin: join(UDI_IMAGE, "bin") };

/** A client of one job: plain OpenSSH and what is built on it, by one way. */
export class Client {
  readonly job: HeldJob;
  readonly programs: Programs;
  /** A directory of the user's, for what tests make; gone with the client. */
  readonly directory: string;
  readonly #config: string;

  constructor(job: HeldJob, way: Way = SOCKET, programs: Programs = STOCK) {
    this.job = job;
    this.programs = programs;
    this.directory = mkdtempSync("/tmp/gangway-reach-");
    this.#config = join(this.directory, "ssh_config");
    writeFileSync(this.#config, `${way.config(job)}\nMatch all\nInclude ${job.directory}/kit/ssh_config\n`);
    for (const path of [this.directory, this.#config]) chownSync(path, USER.uid, USER.gid);
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  host(node = "node1"): string {
    return `${node}.${this.job.id}.job`;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** argv of `ssh …`; it never asks anything. */
  argv(words: readonly string[]): string[] {
    return [join(this.programs.bin, "ssh"), "-F", this.#config, "-o", "BatchMode=yes", ...words];
  }

  async ssh(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return await run(this.argv(words), { ...this.job.options, cwd: this.directory, ...options });
  }

  /** Runs a command line in the container of the head. */
  async sh(command: string, options: RunOptions = {}): Promise<RunResult> {
    return await this.ssh([this.host(), command], options);
  }

  /** Starts `ssh …` and leaves it running. */
  start(words: readonly string[]) {
    const child = start(this.argv(words), { ...this.job.options, cwd: this.directory });
    child.stdin.on("error", () => undefined);
    return child;
  }

  async scp(words: readonly string[]): Promise<RunResult> {
    return await this.#other("scp", ["-q", ...words]);
  }

  async sftp(batch: string, words: readonly string[] = []): Promise<RunResult> {
    return await this.#other("sftp", ["-q", "-b", "-", ...words, this.host()], { input: batch });
  }

  async rsync(words: readonly string[]): Promise<RunResult> {
    const shell = this.argv([]).join(" ");
    return await run(["/usr/bin/rsync", "-e", shell, ...words], { ...this.job.options, cwd: this.directory });
  }

  async #other(program: string, words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const fixed = ["-F", this.#config, "-S", join(this.programs.bin, "ssh"), "-o", "BatchMode=yes"];
    const argv = [join(this.programs.bin, program), ...fixed, ...words];
    return await run(argv, { ...this.job.options, cwd: this.directory, ...options });
  }

  /** Opens a control master; every further `ssh` and `scp` of this client then goes over its connection. */
  async openMaster(): Promise<void> {
    writeFileSync(this.#config, `ControlPath ${this.path("master")}\n${readFileSync(this.#config, "utf8")}`);
    this.start(["-NM", this.host()]);
    await eventually("a control master", 20, async () => (await this.ssh(["-O", "check", this.host()])).code === 0);
  }

  async closeMaster(): Promise<void> {
    await this.ssh(["-O", "exit", this.host()]);
  }
}

/**
 * A job whose command and sessions start in /w, a directory of the host's that is gone with the job. There is room in
 * memory at /t.
 */
export async function startJob(options: HeldOptions = {}): Promise<HeldJob> {
  const directory = mkdtempSync("/tmp/gangway-work-");
  chownSync(directory, USER.uid, USER.gid);
  const places = ["--volume", `${directory}:/w`, "--workdir", "/w", "--tmpfs", "/t:mode=1777"];
  const job = await HeldJob.start({ ...options, words: [...places, ...(options.words ?? [])] });
  void job.ended().then(() => rmSync(directory, { recursive: true, force: true }));
  return job;
}

/** A word of a command line that any POSIX shell reads as it is. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** What is asked for, once it is the same three times: the end of an earlier session may still be going on. */
export async function settled(ask: () => Promise<string>): Promise<string> {
  let last = await ask();
  for (let same = 1; same < 3; ) {
    const now = await ask();
    same = now === last ? same + 1 : 1;
    last = now;
  }
  return last;
}
