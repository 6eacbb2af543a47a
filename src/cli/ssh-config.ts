import { existsSync } from "node:fs";
import { Command } from "commander";
import { STATUS, UsageError } from "../config/errors.ts";
import { renderFragment } from "../session/fragment.ts";
import { includeLines, install, renderIndexConfig, uninstall } from "../session/user-ssh.ts";
import { configure, ownerOf, runBasesOf } from "./context.ts";
import { print } from "./output.ts";

interface Options {
  readonly install?: boolean;
  readonly uninstall?: boolean;
  readonly via?: string;
  readonly cluster?: string;
  readonly identity?: string;
}

export function command(): Command {
  return new Command("gangway ssh-config")
    .description(
      "Lets plain ssh, scp, sftp, rsync and editors reach running jobs as JOB.job and NODE.JOB.job. Without options it prints what would be included.",
    )
    .option("--install", "one Include line at the top of ~/.ssh/config, and ~/.gangway/ssh")
    .option("--uninstall", "undo that")
    .option("--via <HOST>", "print the lines for another machine's ~/.ssh/config, which goes through HOST")
    .option("--cluster <NAME>", "with --via: jobs are JOB.job.NAME there (default: the first label of HOST)")
    .option("--identity <FILE>", "with --via: the key that is used there (default: ~/.ssh/id_ed25519)")
    .action(async (options: Options) => {
      checkOptions(options);
      if (options.via !== undefined) showFragment(options.via, options);
      else if (options.uninstall === true) {
        const { identity, account } = ownerOf(undefined);
        report(uninstall({ identity, home: account.home }));
      } else await installOrShow(options.install === true);
    });
}

function checkOptions({ install: put, uninstall: take, via, cluster, identity }: Options): void {
  const hint = "see `gangway ssh-config --help`";
  if ([put === true, take === true, via !== undefined].filter(Boolean).length > 1) {
    throw new UsageError("--install, --uninstall and --via exclude each other", { hint, exitCode: STATUS.usage });
  }
  if (via === undefined && (cluster !== undefined || identity !== undefined)) {
    throw new UsageError("--cluster and --identity are for --via HOST", { hint, exitCode: STATUS.usage });
  }
}

/** A key that is not here is no error: the lines may be for another machine. */
function showFragment(via: string, options: Options): void {
  print(renderFragment({ ...options, via }));
  if (options.identity === undefined) return;
  const file = `${options.identity.replace(/\.pub$/, "")}.pub`;
  if (existsSync(file.replace(/^~/, ownerOf(undefined).account.home))) return;
  process.stderr.write(`gangway: note: there is no ${file} on this machine; it must be where these lines are used\n`);
}

/** This program as ssh is to call it: absolute, as the caller found it. */
function program(): string {
  return process.argv[1] ?? "gangway";
}

async function installOrShow(put: boolean): Promise<void> {
  if (!put) {
    print(`# in ~/.ssh/config, at its top:\n${includeLines().join("\n")}\n\n# in ~/.gangway/ssh/config:\n`);
    print(renderIndexConfig(program()));
    return;
  }
  const owner = ownerOf(undefined);
  const { identity, account } = owner;
  const bases = runBasesOf(await configure({}), owner);
  report(install({ identity, home: account.home, bases, program: program() }));
}

function report(done: readonly string[]): void {
  print(done.length === 0 ? "nothing had to be changed\n" : done.map((line) => `${line}\n`).join(""));
}
