import { JobError, STATUS, UsageError } from "../config/errors.ts";
import { block, proxyWord } from "../udi/ssh-config.ts";
import { carriedName, checkMeant } from "./carrier.ts";
import type { ManagedJob } from "./carriers/client.ts";
import { askManager } from "./carriers/managed.ts";
import { Switchboard } from "./carriers/switchboard.ts";
import { Interrupted } from "./child.ts";
import { assembleConfig, hasUserConfig } from "./entry-config.ts";
import { checkLogin, type Entry, type EntryRequest } from "./entry-request.ts";
import { goneSince } from "./gone.ts";
import { ManagedStart } from "./managed-start.ts";
import { carriedDirectives, newKey, privateFile } from "./session-key.ts";

/**
 * By the job's workload manager, which carries the bytes: this process holds the carrier, and the client program connects to
 * a socket of its. Host key and authorisation are settled over the carrier before ssh says its first byte.
 *
 * @param begun what was begun while the manager was asked; it is the caller's to close
 * @throws JobError, UsageError with the exit statuses of docs/internals.md, section 10
 */
export async function entryManaged<T>(
  request: EntryRequest,
  managed: ManagedJob,
  work: (entry: Entry) => Promise<T>,
  begun?: ManagedStart,
): Promise<T> {
  const { seeker, placeholders = [], userConfig } = request;
  if (request.foreign !== undefined) {
    throw new UsageError("root enters other users' jobs on their own host only", {
      hint: `log in to ${managed.host} as the job's user`,
      exitCode: STATUS.usage,
    });
  }
  const carriers = seeker.carriers();
  const enter = async (start: ManagedStart) => {
    const { directory, pair } = start;
    const opening = { directory, publicKey: pair.publicKey, begun: start.carrierTo(managed) };
    const board = await Switchboard.open(managed, carriers, opening);
    try {
      const key = newKey(directory, pair);
      const reply = checkMeant(board.reply, managed.reading, managed.title, managed.means);
      checkLogin(request, reply.user);
      const name = carriedName(reply.principal, managed.way);
      const base = privateFile(
        directory,
        "ssh_config",
        block(`Host ${[name, ...placeholders].join(" ")}`, [
          ["HostName", name],
          ["ProxyCommand", `${proxyWord(carriers.connector)} ${proxyWord(board.socket)}`],
          ["ProxyUseFdpass", "yes"],
          // A master in the background would outlive this process, by which it lives.
          ["ControlMaster", "no"],
          ["ControlPath", "none"],
          // In OpenSSH 9.0 to 9.8 it takes longer than all the rest of a session's start; what newer ones have in its place
          // (mlkem768), and older ones, stays. The pattern is also good for those that do not know it.
          ["KexAlgorithms", "-sntrup761*"],
          ...carriedDirectives(key, reply),
        ]),
      );
      return await work({
        configFile: assembleConfig({ host: name, placeholders, base, userConfig }, directory),
        host: name,
        user: reply.user,
        udiImage: carriers.udiImage,
        ours: !hasUserConfig(userConfig),
        spawning: {},
        explain: async (interrupted) => {
          if (interrupted !== undefined) throw new Interrupted(interrupted);
          if (!board.cut) return;
          // A job that has ended says so.
          await askManager(managed.way, [managed.reading], request.target, request.queue).catch((error: unknown) => {
            throw goneSince(managed.reading.job, error);
          });
          throw wasCut(managed);
        },
      });
    } finally {
      await board.close();
    }
  };
  if (begun !== undefined) return await enter(begun);
  const start = ManagedStart.open(request);
  try {
    return await enter(start);
  } finally {
    await start.close();
  }
}

function wasCut({ title, reading }: ManagedJob): JobError {
  return new JobError(`the way to job ${reading.job} by ${title} was cut off`, {
    hint: `has the job ended, or its host? \`gangway doctor ${reading.job}\` says more`,
    exitCode: STATUS.unreachable,
  });
}
