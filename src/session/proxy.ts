import { createConnection } from "node:net";
import { join } from "node:path";
import { JobError, reasonOf, STATUS, UsageError } from "../config/errors.ts";
import { readIndex } from "../job/index-entry.ts";
import { jobHost } from "../udi/names.ts";
import { checkCarrier } from "./carrier-name.ts";
import type { ManagedJob } from "./carriers/client.ts";
import { askManager, askManagers } from "./carriers/managed.ts";
import { openCarrier } from "./carriers/switchboard.ts";
import { runChild } from "./child.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import { resolveJob, type Seeker } from "./resolve.ts";
import { sshProgram } from "./ssh-client.ts";
import { readingsOf, wordOf } from "./target.ts";
import { findTcp, hasSocket, isManagerWay, socketOf, type TcpPlace, type Way } from "./ways.ts";

const CONNECT_MS = 30_000;

export interface ProxyRequest {
  readonly seeker: Seeker;
  /** As ssh gives it to its ProxyCommand (%h). */
  readonly host: string;
  readonly way: Way | undefined;
  readonly via: string | undefined;
  /** The setting runDirectory. */
  readonly runDirectory: string | undefined;
}

/**
 * Copies between this process's standard streams and the sshd of a job's node; nothing else is ever written to standard
 * output. Each direction ends by itself.
 *
 * @returns the exit status
 * @throws JobError, UsageError with the exit statuses of docs/internals.md, section 10
 */
export async function proxyTo(request: ProxyRequest): Promise<number> {
  const { seeker, host, way, via } = request;
  if (via !== undefined) return await throughHost(checkCarrier(via), wordOf(readingsOf(host)[0]));
  if (isManagerWay(way)) return await byManager(request, await askManager(way, readingsOf(host), host));
  const found = await resolveJob(seeker, host, async (readings) =>
    way === undefined ? await askManagers(readings, host) : undefined,
  );
  if (found.where === "managed") return await byManager(request, found);
  if (found.where === "elsewhere") {
    if (way === undefined || way === "ssh") return await throughHost(checkCarrier(found.host), wordOf(found.reading));
    throw new JobError(`job ${found.reading.job} runs on ${found.host}: ${way} is no way from here`, {
      hint: `leave --connect out, or use gangway ssh --via ${found.host}`,
      exitCode: STATUS.unreachable,
    });
  }
  if (way === "ssh") {
    throw new UsageError("--connect ssh needs a host to go through: the job runs on this one", {
      hint: "add --via HOST, or leave --connect out",
      exitCode: STATUS.usage,
    });
  }
  const { job, node } = found;
  if (way === "tcp" || (way === undefined && !hasSocket(node))) {
    return await copy(await findTcp(node, { elsewhere: node.socket === undefined }));
  }
  // It asks the kernel who listens, which Node cannot.
  const connector = join(job.record.udiImage, "libexec/connector");
  return (await runChild(connector, ["--stdio", socketOf(node)])).code;
}

/**
 * Why plain ssh, which knows the index alone, does not know a name. Its fallback asks this before any host key is asked for:
 * it has none of this job's.
 *
 * @returns the error for a job that runs
 * @throws JobError that says why there is none
 */
export async function explainUnknown(seeker: Seeker, host: string): Promise<JobError> {
  const found = await resolveJob(seeker, host);
  const { job, node } = found.where === "here" ? { job: found.job.id, node: found.node.name } : found.reading;
  const indexed = readIndex(seeker.places.user, seeker.places.home).some((entry) => entry.job === job);
  const names = node === undefined ? jobHost({ job }) : `${jobHost({ job })}, ${jobHost({ job, node })}`;
  const where = found.where === "here" ? "here" : `on ${found.host}`;
  return indexed
    ? new JobError(`job ${job} runs ${where}, and plain ssh does not know it by this name`, {
        hint: `write it as it is in the index: ${names}`,
        exitCode: STATUS.noSuchJob,
      })
    : new JobError(`job ${job} runs ${where}, but is not in the index of plain ssh`, {
        hint: `gangway ssh-config --install enters it; gangway ssh ${job} needs no index`,
        exitCode: STATUS.noSuchJob,
      });
}

async function byManager({ seeker, runDirectory }: ProxyRequest, managed: ManagedJob): Promise<number> {
  return await withPrivateDirectory(
    seeker.places,
    runDirectory,
    async (directory) => {
      const stream = await openCarrier(managed, seeker.carriers(), { directory });
      try {
        return (await stream.connect({ from: 0, to: 1 })) ? 1 : 0;
      } finally {
        stream.close();
      }
    },
    { guarded: true },
  );
}

/** gangway there knows the way from there. */
async function throughHost(host: string, job: string): Promise<number> {
  return (await runChild(sshProgram(undefined), ["-T", "--", host, "gangway", "proxy", job])).code;
}

/** @throws JobError (exit status 76) */
async function copy({ address, port }: TcpPlace): Promise<number> {
  const { stdin, stdout } = process;
  const socket = createConnection({ host: address, port, allowHalfOpen: true, noDelay: true });
  const where = `${address} port ${port}`;
  await new Promise<void>((resolve, reject) => {
    const unreachable = (error: unknown) =>
      reject(new JobError(`${where}: ${reasonOf(error)}`, { exitCode: STATUS.unreachable }));
    const timer = setTimeout(
      () => socket.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`)),
      CONNECT_MS,
    );
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", unreachable);
      resolve();
    });
    socket.once("error", unreachable);
    socket.once("close", () => clearTimeout(timer));
    // ssh has gone before there was anything to be said.
    stdin.once("end", () => socket.connecting && socket.destroy(new Error("standard input was closed")));
    stdin.pipe(socket);
  });
  return await new Promise<number>((resolve) => {
    const leave = (code: number) => {
      socket.destroy();
      stdin.destroy();
      resolve(code);
    };
    socket.on("error", () => leave(1));
    stdin.on("error", () => leave(1));
    // Its reader has gone: nobody wants the rest.
    stdout.on("error", () => leave(1));
    socket.on("end", () => stdout.end(() => leave(0)));
    socket.pipe(stdout, { end: false });
  });
}
