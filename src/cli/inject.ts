import { STATUS, UsageError } from "../config/errors.ts";
import { flagsFrom } from "../config/flags.ts";
import { printable } from "../config/printable.ts";
import type { ForeignContainers } from "../engine/foreign.ts";
import { placeholdersFor, runClient } from "../session/enter.ts";
import { parseSshWords, type SshWords } from "../session/ssh-words.ts";
import { callersPlaces, configure, connectForeign, udiImageOf } from "./context.ts";
import { print } from "./output.ts";

/** Also what `gangway completion` knows of the options. */
export const help = `Usage: gangway inject [OPTION…] [SSH OPTION…] CONTAINER [COMMAND…]
       gangway inject --withdraw [--force] CONTAINER

Plain ssh into any running container of the engine, which Gangway did not start: its programs are put into the container's
/opt/udiImage, and an sshd is started there for each session. They stay for the next one, until they are withdrawn.
Options stand before the command.

  --withdraw       take the programs out of the container again: nothing is left
  --force          end the sessions that are open
  --once           withdraw them after this session, unless another one is open
  --ssh PROGRAM    another client than ssh: sftp, scp, 'scp -r'; \`remote\` in its words, behind CONTAINER, is the container
  --user USER      as whom, as for docker exec; without it the container's own user
  --engine ENGINE  the engine's socket; one that is reached over TLS is named as for docker: DOCKER_HOST=tcp://HOST:PORT,
                   and its certificates by DOCKER_CERT_PATH
  --help           this

Exit status: ssh's (255: ssh failed), or 64 wrong usage, 68 no such container, 69 it has ended, 75 it is paused, or sessions
are open, 76 nothing can be put into it, or started there.
`;

const OWN = ["--withdraw", "--force", "--once"] as const;

/** The words are ssh's but for our own. */
export async function run(words: readonly string[]): Promise<number> {
  const rest = parseSshWords(words, { command: "gangway inject", plain: OWN });
  const own = rest.besides ?? new Set();
  if (rest.help) {
    print(help);
    return 0;
  }
  const { target } = check(own, rest);
  const config = await configure(flagsFrom(rest.engine === undefined ? {} : { engine: rest.engine }));
  const engine = await connectForeign(config);
  try {
    const { findContainer } = await import("../job/inject.ts");
    const container = await findContainer(engine, target);
    if (own.has("--withdraw")) return await withdraw(engine, container, config, own.has("--force"));
    return await enter({ engine, container, rest, udiImage: udiImageOf(config), config, once: own.has("--once") });
  } finally {
    engine.close();
  }
}

/** @throws UsageError (exit status 64) */
function check(own: ReadonlySet<string>, { target, login, command, connect, via, autoRetry }: SshWords) {
  const wrong = (message: string, hint: string) => new UsageError(message, { hint, exitCode: STATUS.usage });
  if (target === undefined || target === "")
    throw wrong("which container?", "gangway inject CONTAINER [COMMAND…]; `docker ps` lists the running ones");
  if (login !== undefined)
    throw wrong(`${printable(login)}@: who one is in a container is not ssh's to say`, "--user USER");
  if (connect !== undefined || via !== undefined || autoRetry)
    throw wrong("--connect, --via and --auto-retry are for jobs", "leave them out");
  if (own.has("--withdraw") && command.length > 0)
    throw wrong("--withdraw runs no command", "gangway inject --withdraw CONTAINER");
  if (own.has("--withdraw") && own.has("--once"))
    throw wrong("--withdraw and --once exclude each other", "gangway inject --withdraw CONTAINER");
  if (own.has("--force") && !own.has("--withdraw")) throw wrong("--force is for --withdraw", "leave it out");
  return { target };
}

type Config = Awaited<ReturnType<typeof configure>>;
type Container = Awaited<ReturnType<typeof import("../job/inject.ts").findContainer>>;

async function withdraw(
  engine: ForeignContainers,
  container: Container,
  config: Config,
  force: boolean,
): Promise<number> {
  const { withdrawTree } = await import("../job/inject.ts");
  const { openLooked } = await import("../job/inject-looked.ts");
  const udiImage = udiImageOf(config);
  const outcome = await uninterrupted(async () => await withdrawTree(engine, container, udiImage, force));
  const { socketPath } = engine.endpoint;
  if (outcome !== "busy") openLooked(socketPath, callersPlaces(), config.values.runDirectory).forget(container.id);
  if (outcome === "nothing") note(`there is nothing of Gangway's in container ${container.name}`);
  if (outcome !== "busy") return 0;
  throw new UsageError(`sessions are open in container ${container.name}: nothing was withdrawn`, {
    hint: `end them, or: gangway inject --withdraw --force ${container.name}`,
    exitCode: STATUS.notYet,
  });
}

interface EnterRequest {
  readonly engine: ForeignContainers;
  readonly container: Container;
  readonly rest: SshWords;
  readonly udiImage: string;
  readonly config: Config;
  readonly once: boolean;
}

async function enter({ engine, container, rest, udiImage, config, once }: EnterRequest): Promise<number> {
  const { putTree, withdrawTree } = await import("../job/inject.ts");
  const { openLooked } = await import("../job/inject-looked.ts");
  const { withInjectedEntry } = await import("../session/injected.ts");
  const places = callersPlaces();
  const looked = openLooked(engine.endpoint.socketPath, places, config.values.runDirectory);
  const { tree, fresh } = await uninterrupted(async () => await putTree(engine, container, udiImage, looked));
  if (fresh && !once && process.stderr.isTTY)
    note(`the programs stay in the container; \`gangway inject --withdraw ${container.name}\` takes them out`);
  const session = {
    engine,
    container,
    tree,
    user: rest.user,
    udiImage,
    places,
    runDirectory: config.values.runDirectory,
    untilGone: once,
    userConfig: rest.configFile,
    placeholders: placeholdersFor(rest),
  };
  try {
    return await withInjectedEntry(session, async (entry) => {
      const { code, interrupted } = await runClient(entry, rest);
      if (code === 255) await entry.explain(interrupted);
      return code;
    });
  } finally {
    if (once) await uninterrupted(async () => await withdrawTree(engine, container, udiImage, false));
    if (once) looked.forget(container.id);
  }
}

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** A signal that ends us does so when this is done, a moment later: so that nothing is left that is half made. */
async function uninterrupted<T>(work: () => Promise<T>): Promise<T> {
  let heard: NodeJS.Signals | undefined;
  const hear = (name: NodeJS.Signals) => {
    heard ??= name;
  };
  for (const name of ENDING) process.on(name, hear);
  try {
    return await work();
  } finally {
    for (const name of ENDING) process.off(name, hear);
    if (heard !== undefined) process.kill(process.pid, heard);
  }
}

function note(text: string): void {
  process.stderr.write(`gangway: ${printable(text)}\n`);
}
