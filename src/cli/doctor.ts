import { Command } from "commander";
import { GangwayError } from "../config/errors.ts";
import { openRunBase } from "../config/paths.ts";
import { examineEngine, examineUdiImage, type Finding } from "../job/doctor.ts";
import { addSettings, configure, connectEngine, givenSettings, ownerOf, udiImageOf } from "./context.ts";
import { print } from "./output.ts";
import { renderTable } from "./table.ts";

export function command(): Command {
  const doctor = new Command("gangway doctor")
    .description("Checks this installation and names what cannot be had on this machine.")
    .option("-u, --user <USER>", "for whom (root only, and then needed)")
    .option("--json", "for programs");
  addSettings(doctor, ["engine", "udiImagePath"]);
  return doctor.action(async (options: { user?: string; json?: boolean }, self: Command) => {
    const findings = await examine(self, options.user);
    if (options.json === true) print(`${JSON.stringify(findings)}\n`);
    else print(render(findings));
    process.exitCode = findings.some((finding) => finding.state === "fault") ? 1 : 0;
  });
}

async function examine(self: Command, user: string | undefined): Promise<Finding[]> {
  const config = await configure(givenSettings(self));
  const findings: Finding[] = [{ what: "node", state: "ok", detail: `Node.js ${process.versions.node}` }];
  const attempt = async (what: string, work: () => Promise<Finding[]> | Finding[]) => {
    try {
      findings.push(...(await work()));
    } catch (error) {
      if (!(error instanceof GangwayError)) throw error;
      findings.push({
        what,
        state: "fault",
        detail: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  };
  await attempt("udiImage", () => examineUdiImage(udiImageOf(config)));
  await attempt("user", async () => {
    const owner = ownerOf(user);
    findings.push({ what: "user", state: "ok", detail: `${owner.account.name}, uid ${owner.account.uid}` });
    await attempt("directory", () => {
      const base = openRunBase({ ...owner.places, configured: config.values.runDirectory, job: "doctor", nodes: 1 });
      const passed = base.passedOver.map(
        (reason): Finding => ({ what: "directory", state: "limit", detail: `passed over ${reason}` }),
      );
      return [{ what: "directory", state: "ok", detail: `${base.path} (in memory, private)` }, ...passed];
    });
    return await examineEngine(() => connectEngine(config), owner.account);
  });
  return findings;
}

function render(findings: readonly Finding[]): string {
  return renderTable(
    findings.flatMap(({ state, what, detail, hint }) => [
      [state, what, detail],
      ...(hint === undefined ? [] : [["", "", hint]]),
    ]),
  );
}
