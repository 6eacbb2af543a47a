import { JobError, STATUS } from "../../config/errors.ts";
import { jobHost, quoted } from "../../udi/names.ts";
import { tellHeld } from "../carrier.ts";
import type { CondorPlace } from "../htcondor-queue.ts";
import type { Reading } from "../target.ts";
import type { ManagerWay } from "../ways.ts";
import type { Guess, ManagedJob, ManagerClient } from "./client.ts";
import { htcondorClient } from "./htcondor.ts";
import { slurmClient } from "./slurm.ts";
import type { CarrierSettings } from "./switchboard.ts";

const CLIENTS: readonly ManagerClient[] = [slurmClient, htcondorClient];

/** @returns the manager whose way this is, where it is one's */
function clientOf(way: ManagerWay): ManagerClient | undefined {
  return CLIENTS.find((client) => client.way === way);
}

/** What the workload managers whose clients are installed can be asked. */
export interface Question {
  /** Of the only one that could have the job, where nothing else can be meant. */
  readonly guess: Guess | undefined;
  /**
   * @returns undefined where none knows such a job
   * @throws JobError with the status of what is the matter, where a manager knows it and it cannot be entered; exit status 65
   *   where several jobs fit
   */
  ask(): Promise<ManagedJob | undefined>;
}

/**
 * @param readings what the name may mean
 * @param text as it was typed, for messages
 * @returns undefined where none is installed that could have such a job
 */
export function questionFor(readings: readonly Reading[], text: string): Question | undefined {
  const able = CLIENTS.filter((client) => readings.some(client.takes) && client.installed());
  if (able.length === 0) return undefined;
  return { guess: guessOf(able, readings), ask: () => ask(able, readings, text) };
}

function guessOf([client, another]: readonly ManagerClient[], readings: readonly Reading[]): Guess | undefined {
  const [reading, further] = client === undefined ? [] : readings.filter(client.takes);
  return another !== undefined || further !== undefined || reading === undefined ? undefined : client?.guess(reading);
}

/**
 * Asks the workload managers whose clients are installed for a job.
 *
 * @returns undefined where none knows such a job, or none is installed
 * @throws as {@link Question.ask}
 */
export async function askManagers(readings: readonly Reading[], text: string): Promise<ManagedJob | undefined> {
  return await questionFor(readings, text)?.ask();
}

/**
 * The same for one manager, that was asked for by name.
 *
 * @param place as {@link ManagerClient} has it
 * @throws JobError also where it knows no such job (exit status 68), or cannot be asked (76)
 */
export async function askManager(
  way: ManagerWay,
  readings: readonly Reading[],
  text: string,
  place?: CondorPlace,
): Promise<ManagedJob> {
  const client = clientOf(way);
  const known = client === undefined ? [] : [client];
  const mine = readings.filter((reading) => known.some((one) => one.takes(reading)));
  const found = await ask(known, mine, text, place);
  if (found !== undefined) return found;
  const title = client?.title ?? way;
  throw new JobError(
    mine.length === 0 ? `${quoted(text)} is no id of ${title}'s` : `${title} knows no job ${quoted(text)}`,
    { hint: "launches that were given a --name are not known to it", exitCode: STATUS.noSuchJob },
  );
}

/**
 * The manager's way to a job to whose host ssh did not get.
 *
 * @param error why not
 * @throws the error, where it is another one, or no manager leads to the job; what ssh said is shown then
 */
export async function askInstead(error: unknown, reading: Reading, text: string): Promise<ManagedJob> {
  const inVain = error instanceof JobError && error.exitCode === STATUS.unreachable;
  const managed = inVain ? await askManagers([reading], text).catch(() => undefined) : undefined;
  if (managed !== undefined) return managed;
  tellHeld(error);
  throw error;
}

async function ask(
  clients: readonly ManagerClient[],
  readings: readonly Reading[],
  text: string,
  place?: CondorPlace,
): Promise<ManagedJob | undefined> {
  // `1.1` is node 1 of job 1 in two ways; it is also a job of that id, which is written alike.
  const different = [...new Map(readings.map((reading) => [`${reading.job} ${reading.node ?? ""}`, reading])).values()];
  const questions = clients.flatMap((client) =>
    different.filter(client.takes).map((reading) => client.find(reading, place)),
  );
  const answers = await Promise.allSettled(questions);
  const found = answers.flatMap((answer) =>
    answer.status === "fulfilled" && answer.value !== undefined ? [answer.value] : [],
  );
  const certain = found.filter((job) => job.certain);
  const [only, another] = certain.length === 1 ? certain : found;
  if (only !== undefined && another === undefined) return only;
  if (another !== undefined) throw several(text, found);
  const reasons = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as Error] : []));
  // What is the matter with a job of one's own says more than that a number is somebody else's.
  const own = reasons.find((reason) => !(reason instanceof JobError) || reason.exitCode !== STATUS.notYours);
  const first = own ?? reasons[0];
  if (first !== undefined) throw first;
  return undefined;
}

function several(text: string, found: readonly ManagedJob[]): JobError {
  const ways = [...new Set(found.map(({ way }) => way))];
  const names = found.map(({ title, reading }) => `${jobHost(reading)} (${title})`);
  return new JobError(`${quoted(text)} fits several: ${names.join(", ")}`, {
    hint: `write the one that is meant in full, or add --connect ${ways.join(" or ")}`,
    exitCode: STATUS.several,
  });
}

/** Every shell reads it alike. */
const PLAIN_PATH = /^\/[A-Za-z0-9_./+@,:-]+$/;

/**
 * The words that are run on the job's host: the installation's own program, at the same path there.
 *
 * @param program the setting nodeProgram, or this program's path
 * @throws JobError for a path that a shell there would read as something else
 */
export function carriedWords({ program }: Pick<CarrierSettings, "program">): readonly string[] {
  if (PLAIN_PATH.test(program)) return [program, "carried"];
  throw new JobError(
    `${quoted(program)} cannot be called through a workload manager: a shell there may read it in another way`,
    {
      hint: "install gangway below a path of plain letters, or set nodeProgram",
      exitCode: STATUS.unreachable,
    },
  );
}

/**
 * The same for a job's head, where a key is to be signed: the tree's connector does that without starting gangway, where it can.
 *
 * @param padding as {@link ManagedJob} has it
 * @throws JobError as {@link carriedWords}
 */
export function headWords(settings: CarrierSettings, job: string, padding: number): readonly string[] {
  const { connector, same, silenceMs, bases } = settings;
  const words = carriedWords(settings);
  const [program = ""] = words;
  const places = bases.filter((base) => PLAIN_PATH.test(base));
  if (!same || !PLAIN_PATH.test(connector)) return words;
  return [connector, "--carried", program, job, String(silenceMs), String(padding), ...places];
}
