import type { Allocation } from "../allocation/allocation.ts";
import { commandStarter, parseStartCommand } from "../rendezvous/command.ts";
import { srun } from "../rendezvous/srun.ts";
import { ssh } from "../rendezvous/ssh.ts";
import type { Starter } from "../rendezvous/starter.ts";

/**
 * How processes are started on the hosts of an allocation: as the site says, else by the manager's own launcher, else by the
 * user's ssh.
 *
 * @param command the setting `startCommand`
 * @param origin where that was said
 */
export function starterFor({ manager }: Allocation, command: string | undefined, origin: string): Starter {
  if (command !== undefined) return commandStarter(parseStartCommand(command, { kind: "variable", name: origin }));
  return manager === "slurm" ? srun : ssh;
}
