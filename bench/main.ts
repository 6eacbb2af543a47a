import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { DOCKER, UDI_IMAGE, USER } from "../test/job/harness.ts";
import { handOver, MEASUREMENTS, type Row } from "./rows.ts";

/*
 * main.ts RESULT BUILT [MEASUREMENT…] - measures, prints the table, writes RESULT (JSON). Run by scripts/bench.sh.
 *
 * Each row has its peer in the same run, the two taking turns; what counts is the medians' ratio or difference, since on
 * a busy machine both sides are slower. In the directory BUILT are bench/rounds.c and bench/unfold.ts, built.
 */

interface Measured extends Row {
  /** Of the last minute, before and after. */
  readonly load: readonly [number, number];
}

function output(program: string, ...words: string[]): string {
  try {
    return execFileSync(program, words, {
      encoding: "utf8",
      env: { ...process.env, DOCKER_HOST: DOCKER.endpoint },
    }).trim();
  } catch {
    // A fact that cannot be had is no reason not to measure.
    return "unknown";
  }
}

function machine(): Record<string, unknown> {
  const all = cpus();
  return {
    cpus: all.length,
    cpu: all[0]?.model ?? "unknown",
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    docker: output("docker", "version", "--format", "{{.Server.Version}}"),
    ssh: output("sh", "-c", `${join(UDI_IMAGE, "bin/ssh")} -V 2>&1`),
    distributionSsh: output("sh", "-c", "/usr/bin/ssh -V 2>&1"),
    gangway: output("git", "rev-parse", "--short", "HEAD"),
  };
}

/** Three significant digits are more than the noise. */
function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function side(samples: Row["theirs"], unit: string): string {
  if (samples === undefined) return "-";
  const spread = samples.samples.length > 1 ? ` (${short(samples.min)}–${short(samples.max)})` : "";
  return `${short(samples.median)} ${unit}${spread}`;
}

function outcome(row: Row): string {
  const { measure, value, unit } = row;
  if (measure === "ratio") return `${value.toFixed(2)}×`;
  if (measure === "difference") return `${value >= 0 ? "+" : ""}${short(value)} ${unit}`;
  return row.note === undefined ? "" : `${value} failed, ${row.note}`;
}

function table(rows: readonly Measured[]): string {
  const cells = [
    ["what", "gangway", "peer", "", "", "reach", "", "load"],
    ...rows.map((row) => [
      row.what,
      side(row.ours, row.unit),
      row.peer,
      side(row.theirs, row.unit),
      outcome(row),
      row.reach,
      row.met ? "met" : "missed",
      row.load.map((value) => value.toFixed(1)).join("→"),
    ]),
  ];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0))) ?? [];
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function main([result, built, ...wanted]: readonly string[]): Promise<void> {
  if (result === undefined || built === undefined) throw new Error("usage: main RESULT BUILT [MEASUREMENT…]");
  const names = wanted.length > 0 ? wanted : Object.keys(MEASUREMENTS);
  const unknown = names.filter((name) => !Object.hasOwn(MEASUREMENTS, name));
  if (unknown.length > 0) {
    throw new Error(`no such measurement: ${unknown.join(", ")}; there are ${Object.keys(MEASUREMENTS).join(", ")}`);
  }
  // In the home: it is mounted into the job's containers, and sshd trusts the keys in it.
  const directory = mkdtempSync(join(USER.home, `gangway-bench-${process.pid}-`));
  const rows: Measured[] = [];
  try {
    handOver(directory);
    const rounds = join(directory, "rounds");
    copyFileSync(join(built, "rounds"), rounds);
    for (const name of names) {
      process.stderr.write(`bench: ${name}\n`);
      const [before = 0] = loadavg();
      const measured = (await MEASUREMENTS[name]?.({ directory, rounds, unfold: join(built, "unfold.cjs") })) ?? [];
      const [after = 0] = loadavg();
      rows.push(...measured.map((row): Measured => ({ ...row, load: [before, after] })));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  mkdirSync(dirname(result), { recursive: true });
  const when = new Date().toISOString();
  writeFileSync(result, `${JSON.stringify({ when, machine: machine(), rows }, undefined, 1)}\n`);
  process.stdout.write(
    `${table(rows)}\n\nMedians (smallest–largest); load: of the last minute, before→after. ${result}\n`,
  );
}

await main(process.argv.slice(2));
