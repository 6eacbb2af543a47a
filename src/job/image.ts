import { createHash } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { EngineError } from "../config/errors.ts";
import { asUser, type Identity } from "../config/identity.ts";
import { readOwnFile } from "../config/own-file.ts";
import type { Engine, ImageInfo, ImageQuestions, PullProgress } from "../engine/types.ts";
import type { PullPolicy } from "./spec.ts";

/** What a launch has to know of an image's files; it is looked up once for each image id and then kept. */
export interface ImageKnowledge {
  readonly passwd?: string;
  readonly group?: string;
  readonly hosts?: string;
  /** Of {@link PROBED}, those the image has. */
  readonly present: readonly string[];
}

const READ = ["/etc/passwd", "/etc/group", "/etc/hosts"] as const;

/** OpenSSH's programs that others call by their full path; ours are mounted over those that the image has. */
export const SSH_PROGRAMS = ["/usr/bin/ssh", "/usr/bin/scp", "/usr/bin/sftp"] as const;
export const PROFILE_DIRECTORY = "/etc/profile.d";
const USUAL_SHELLS = [
  "/bin/bash",
  "/bin/sh",
  "/usr/bin/bash",
  "/usr/bin/zsh",
  "/bin/zsh",
  "/usr/bin/fish",
  "/bin/tcsh",
];

/** Bumped when what is looked up changes, so that older answers are not used. */
const FORMAT = 1;

/** No hash: node:crypto, loaded before the engine has been asked for the container, would hold up each launch by 2 ms. */
function cacheFile(cacheDirectory: string, imageId: string, shell: string): string {
  const key = Buffer.from(`${FORMAT}\0${imageId}\0${shell}`).toString("base64url");
  return join(cacheDirectory, "images", `${key}.json`);
}

function readCache(path: string, uid: number): ImageKnowledge | undefined {
  try {
    const value: unknown = JSON.parse(readOwnFile(path, uid));
    return isKnowledge(value) ? value : undefined;
  } catch {
    // Missing or damaged: it is only a cache.
    return undefined;
  }
}

function isKnowledge(value: unknown): value is ImageKnowledge {
  if (typeof value !== "object" || value === null) return false;
  const record = value as Record<string, unknown>;
  const text = (name: string) => record[name] === undefined || typeof record[name] === "string";
  return text("passwd") && text("group") && text("hosts") && Array.isArray(record.present);
}

function writeCache(path: string, knowledge: ImageKnowledge): void {
  const temporary = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, JSON.stringify(knowledge), { mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    // A cache that cannot be written (no home, disk full) costs time, nothing else.
    rmSync(temporary, { force: true });
  }
}

/** What was learnt of an image earlier; undefined when nothing is known of it. */
export function recallImage(
  image: ImageInfo,
  shell: string,
  identity: Identity,
  cacheDirectory: string | undefined,
): ImageKnowledge | undefined {
  if (cacheDirectory === undefined) return undefined;
  return asUser(identity, () => readCache(cacheFile(cacheDirectory, image.id, shell), identity.uid));
}

/**
 * Finds out what must be known of an image's files, and keeps it.
 *
 * @param shell the account's login shell, of which it is asked whether the image has it
 * @param identity in whose name the cache is written
 * @param cacheDirectory of that user; undefined: nothing is kept
 * @param container by which the container that this takes is found, should we be killed
 */
export async function examineImage(
  engine: Engine,
  image: ImageInfo,
  shell: string,
  identity: Identity,
  cacheDirectory: string | undefined,
  container: ImageQuestions["container"],
): Promise<ImageKnowledge> {
  const path = cacheDirectory === undefined ? undefined : cacheFile(cacheDirectory, image.id, shell);
  const { files, kinds } = await engine.examineImage(image.id, {
    ...(container === undefined ? {} : { container }),
    files: READ,
    stats: [...new Set([shell, ...USUAL_SHELLS, ...SSH_PROGRAMS, PROFILE_DIRECTORY])].filter((file) => file !== ""),
  });
  const [passwd, group, hosts] = READ.map((file) => files.get(file)?.content.toString("utf8"));
  const knowledge: ImageKnowledge = {
    ...(passwd === undefined ? {} : { passwd }),
    ...(group === undefined ? {} : { group }),
    ...(hosts === undefined ? {} : { hosts }),
    present: [...kinds].filter(([, kind]) => kind !== "other").map(([file]) => file),
  };
  if (path !== undefined) asUser(identity, () => writeCache(path, knowledge));
  return knowledge;
}

/**
 * The image, pulled where the policy asks for it.
 *
 * @throws EngineError when it is not there and may not be pulled, or cannot be
 */
export async function obtainImage(
  engine: Engine,
  reference: string,
  policy: PullPolicy,
  onProgress: (progress: PullProgress) => void,
  signal: AbortSignal,
): Promise<ImageInfo> {
  if (policy !== "always") {
    const image = await engine.inspectImage(reference);
    if (image !== undefined) return image;
    if (policy === "never") {
      throw new EngineError(`the engine has no image "${reference}", and --pull never forbids to pull it`, {
        hint: "check its name, or allow pulling with --pull missing",
      });
    }
  }
  await engine.pull(reference, onProgress, signal);
  const image = await engine.inspectImage(reference);
  if (image === undefined)
    throw new EngineError(`image "${reference}" was pulled, and yet the engine does not have it`);
  return image;
}

/**
 * What an image is, whoever made it and when: its layers and what its configuration says of a container. Two engines
 * that imported the same files have two ids for one image.
 *
 * @returns `sha256:…`
 */
export function contentDigest({ layers, architecture, env, entrypoint, cmd, workdir, user }: ImageInfo): string {
  const content = JSON.stringify([layers, architecture, env, entrypoint, cmd, workdir, user]);
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}
