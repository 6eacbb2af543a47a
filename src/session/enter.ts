import type { ClientRule } from "../config/parse-container.ts";
import { isTypedName, type Placeholder } from "../udi/ssh-config.ts";
import { runChild } from "./child.ts";
import { ruledCommand, ruleFor } from "./client-rules.ts";
import { clientArguments, isSsh } from "./clients.ts";
import { withEntry } from "./entry.ts";
import type { Entry, EntryRequest } from "./entry-request.ts";
import { clientProgram, ownSsh, sshProgram } from "./ssh-client.ts";
import type { SshWords } from "./ssh-words.ts";

/** Seconds that ssh waits for the node's sshd, unless the user says otherwise. */
const CONNECT_TIMEOUT_S = 30;

export interface EnterRequest
  extends Pick<EntryRequest, "seeker" | "target" | "way" | "runDirectory" | "foreign" | "retried"> {
  readonly words: SshWords;
  /** The setting clients. */
  readonly rules?: readonly ClientRule[];
}

/** How a client program ended. */
export interface ClientEnd {
  /** 128+n where a signal killed it. */
  readonly code: number;
  readonly killed: boolean;
  /** The last signal that came to this process meanwhile. */
  readonly interrupted?: NodeJS.Signals;
}

/**
 * Runs a client program, ssh unless the words name another, into a job's container, with this process's own standard streams.
 *
 * @returns its exit status
 * @throws JobError, UsageError with the exit statuses of docs/internals.md, section 10
 */
export async function enterJob({ words, rules = [], ...request }: EnterRequest): Promise<number> {
  const { via, login, configFile: userConfig } = words;
  const placeholders = placeholdersFor(words);
  return await withEntry({ ...request, via, login, userConfig, placeholders }, async (entry) => {
    const { code, interrupted } = await runClient(entry, words, rules);
    if (code === 255) await entry.explain(interrupted);
    return code;
  });
}

/** Who has just typed the job's name types it again, as scp has it: `JOB:file`. ssh itself takes its host from us alone. */
export function placeholdersFor({ client, target = "" }: Pick<SshWords, "client" | "target">): readonly Placeholder[] {
  if (client === undefined || isSsh(client)) return [];
  return isTypedName(target) ? ["remote", target] : ["remote"];
}

/** Runs the client program with an entry, to its end. */
export async function runClient(
  entry: Entry,
  { client, options, command, target }: Pick<SshWords, "client" | "options" | "command" | "target">,
  rules: readonly ClientRule[] = [],
): Promise<ClientEnd> {
  const { configFile, host, spawning } = entry;
  const stdio = { stdio: "inherit", ...spawning } as const;
  if (client !== undefined && !isSsh(client)) {
    const rule = ruleFor(rules, client);
    if (rule !== undefined) {
      const [ruled, ...rest] = await ruledCommand(rule, client, entry, command);
      return await runChild(clientProgram(ruled, entry).program, rest, stdio);
    }
    const { program, words } = clientProgram(client.program, entry);
    return await runChild(program, [...words, ...clientArguments(client, entry, options, command, target)], stdio);
  }
  const words = ["-o", `ConnectTimeout=${CONNECT_TIMEOUT_S}`, "-F", configFile, "--", host, ...command];
  const own = client === undefined && entry.ours ? ownSsh(entry.udiImage, options) : undefined;
  if (own === undefined) {
    return await runChild(client?.program ?? sshProgram(entry.udiImage), [...options, ...words], stdio);
  }
  // The shell that ssh starts the connector by: a login shell's own start-up files would take their time, and may print.
  const env = { ...(spawning.env ?? process.env), SHELL: "/bin/sh" };
  return await runChild(own, [...options, "-o", "EnableEscapeCommandline=yes", ...words], { ...stdio, env });
}
