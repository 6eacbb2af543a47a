import { Command } from "commander";
import { explainUnknown, proxyTo } from "../session/proxy.ts";
import { parseWay } from "../session/ways.ts";
import { addSettings, configure, givenSettings, ownerOf } from "./context.ts";
import { seekerOf } from "./reach.ts";

export function command(): Command {
  const proxy = new Command("gangway proxy")
    .description("Copies between its standard streams and a job's sshd: a ProxyCommand for ssh, by `gangway proxy %h`.")
    .argument("<host>", "[NODE.]JOB.job, JOB or JOB.NODE")
    .option("--connect <WAY>", "socket, tcp, ssh, srun or condor; without it the first that is possible")
    .option("--explain", "connect to nothing: say why plain ssh does not know the host")
    .option("--via <HOST>", "go there by ssh, and let gangway there find the way");
  addSettings(proxy, ["engine"]);
  return proxy.action(
    async (host: string, options: { connect?: string; via?: string; explain?: boolean }, self: Command) => {
      const way = parseWay(options.connect);
      const config = await configure(givenSettings(self));
      const seeker = seekerOf(config, ownerOf(undefined));
      if (options.explain === true) throw await explainUnknown(seeker, host);
      process.exitCode = await proxyTo({
        seeker,
        host,
        way,
        via: options.via,
        runDirectory: config.values.runDirectory,
      });
    },
  );
}
