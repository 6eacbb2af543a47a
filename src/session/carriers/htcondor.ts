import { dirname } from "node:path";
import { STATUS } from "../../config/errors.ts";
import { isNamedAfter } from "../../job/id.ts";
import {
  askHistory,
  askQueue,
  type CondorId,
  type CondorPlace,
  condorProgram,
  explainQueued,
  placeWords,
} from "../htcondor-queue.ts";
import { type ManagedJob, type ManagerClient, ownEnvironment, ownName, SilentManagerError } from "./client.ts";
import type { CarrierCommand } from "./guard.ts";

const TITLE = "HTCondor";
/** CLUSTER.PROC; then what gangway puts behind: -r1 (begun anew), -2 (its second launch). */
const ID = /^(\d{1,10})\.(\d{1,10})((?:-r\d{1,10})?(?:-\d{1,9})?)$/;
const CARRIER = "condor_ssh_to_job";

/** HTCondor, as far as its commands for users say. */
export const htcondorClient: ManagerClient = {
  way: "condor",
  title: TITLE,
  installed: () => condorProgram("condor_q") !== undefined && condorProgram(CARRIER) !== undefined,
  takes: ({ job }) => ID.test(job),
  async find(reading, place = {}) {
    const [, cluster, proc, further = ""] = ID.exec(reading.job) ?? [];
    if (cluster === undefined || proc === undefined) return undefined;
    const id = { cluster: Number(cluster), proc: Number(proc) };
    const answer = await askQueue(id, place);
    if (answer.kind === "none") {
      const end = await askHistory(id, place, ownName());
      if (end !== undefined) throw end;
      return undefined;
    }
    if (answer.kind === "silent") {
      throw new SilentManagerError(`${TITLE} cannot be asked: ${answer.reason}`, { exitCode: STATUS.unreachable });
    }
    const matter = explainQueued(answer.job, ownName());
    if (matter !== undefined) throw matter;
    // slot1_2@host, and host where a machine has one slot.
    const host = (answer.job.remoteHost ?? "").replace(/^.*@/, "");
    return {
      where: "managed",
      way: "condor",
      title: TITLE,
      reading,
      host,
      certain: true,
      padding: 0,
      // Which launch that is, is found out on the job's host.
      means: (job) => further === "" && isNamedAfter(job, `${cluster}.${proc}`),
      carrier: condorCarrier(id, place),
      guessed: false,
    };
  },
  // To ask the queue takes a tenth of what its carrier does.
  guess: () => undefined,
};

/**
 * ssh as condor_ssh_to_job starts it: what a user's own configuration says is for no connection of a tool's. It is the pool's
 * to say how ssh is called (SSH_TO_JOB_SSH_CMD), and these words stand behind its name.
 */
const SSH = "ssh -F none -T -e none -o BatchMode=yes -o IdentitiesOnly=yes -o LogLevel=ERROR";
/** The job's own PATH may have no node in it: HTCondor gives it none. */
const PATH = ["/usr/local/bin", "/usr/bin", "/bin"];

function condorCarrier({ cluster, proc }: CondorId, place: CondorPlace): ManagedJob["carrier"] {
  return (argv): CarrierCommand => {
    const program = condorProgram(CARRIER);
    if (program === undefined) {
      throw new SilentManagerError(`there is no ${CARRIER} in your PATH`, { exitCode: STATUS.unreachable });
    }
    const path = [...new Set([...PATH, dirname(process.execPath)])].join(":");
    return {
      title: CARRIER,
      argv: [program, ...placeWords(place), "-ssh", SSH, `${cluster}.${proc}`, "/usr/bin/env", `PATH=${path}`, ...argv],
      // It keeps its key below TMP, and takes one of more than 50 bytes for /tmp. It does not remove it when it is
      // interrupted: so it lies in the directory in which it is started, which the guard removes.
      env: { ...ownEnvironment(), TMP: "." },
      // Its only word on a job that has begun, or is suspended, where its machine is not so far.
      notYet: /\(Use -auto-retry/,
    };
  };
}
