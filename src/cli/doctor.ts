import { Command } from "commander";
import { GangwayError, STATUS, UsageError } from "../config/errors.ts";
import { openRunBase } from "../config/paths.ts";
import { examineEngine, examineUdiImage, type Finding, managerHere } from "../job/doctor.ts";
import { addSettings, configure, connectEngine, FOREIGN_MS, givenSettings, ownerOf, udiImageOf } from "./context.ts";
import { print } from "./output.ts";
import { seekerOf } from "./reach.ts";
import { renderTable } from "./table.ts";

export function command(): Command {
  const doctor = new Command("gangway doctor")
    .description(
      "Checks this installation and names what cannot be had on this machine; with a job, which ways lead to it and which do not, and why.",
    )
    .argument("[job]", "JOB, JOB.NODE or [NODE.]JOB.job")
    .option("-u, --user <USER>", "for whom (root only)")
    .option("--json", "for programs");
  addSettings(doctor, ["engine", "udiImagePath"]);
  return doctor.action(async (job: string | undefined, options: Options, self: Command) => {
    if (job !== undefined) {
      await examineWays(self, job, options);
      return;
    }
    const findings = await examine(self, options.user);
    show(findings, options);
    process.exitCode = findings.some((finding) => finding.state === "fault") ? 1 : 0;
  });
}

interface Options {
  readonly user?: string;
  readonly json?: boolean;
}

function show(findings: readonly Finding[], { json }: Options): void {
  print(json === true ? `${JSON.stringify(findings)}\n` : render(findings));
}

async function examineWays(self: Command, job: string, options: Options): Promise<void> {
  const owner = ownerOf(options.user);
  if (owner.account.uid !== process.getuid?.()) {
    throw new UsageError("the ways to a job are examined by its own user", {
      hint: `become ${owner.account.name}, and call gangway doctor ${job}`,
      exitCode: STATUS.usage,
    });
  }
  const { examineJob } = await import("../session/examine.ts");
  const config = await configure(givenSettings(self));
  const { findings, reachable } = await examineJob(seekerOf(config, owner), job, config.values.runDirectory);
  show(findings, options);
  process.exitCode = reachable ? 0 : STATUS.unreachable;
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
    if (user === undefined && process.geteuid?.() === 0) {
      const hint = "gangway doctor as a user, or --user NAME, checks the rest";
      findings.push({ what: "user", state: "limit", detail: "root starts no jobs of its own", hint });
      return [];
    }
    const owner = ownerOf(user);
    findings.push({ what: "user", state: "ok", detail: `${owner.account.name}, uid ${owner.account.uid}` });
    await attempt("directory", () => {
      const base = openRunBase({ ...owner.places, configured: config.values.runDirectory, job: "doctor", nodes: 1 });
      const passed = base.passedOver.map(
        (reason): Finding => ({ what: "directory", state: "limit", detail: `passed over ${reason}` }),
      );
      return [{ what: "directory", state: "ok", detail: `${base.path} (in memory, private)` }, ...passed];
    });
    const engine = () => connectEngine(config, user, FOREIGN_MS);
    return await examineEngine(engine, owner.account, managerHere(process.env.PATH ?? ""));
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
