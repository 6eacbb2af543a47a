import { spawn } from "node:child_process";
import { text as readText } from "node:stream/consumers";
import { EngineError } from "../config/errors.ts";
import { programNamed, whyNotStarted } from "../config/program-path.ts";
import { oneLine } from "./failures.ts";
import { object, text } from "./json.ts";

export interface HelperAnswer {
  readonly username: string;
  readonly secret: string;
}

/**
 * Asks a credential helper.
 *
 * @returns undefined: it keeps nothing for that server
 */
export type HelperRunner = (name: string, server: string) => Promise<HelperAnswer | undefined>;

/** A helper may ask the user to unlock a key ring; one that takes longer than this hangs. */
const LIMIT_MS = 60_000;

/**
 * Runs `docker-credential-NAME get` with the server's name on its standard input
 * (protocol: github.com/docker/docker-credential-helpers, "Usage").
 *
 * @throws EngineError when it is not installed, fails or says what is no answer
 */
export const runHelper: HelperRunner = async (name, server) => {
  const program = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw new EngineError(`"${name}" is no name of a credential helper`);
  const { code, output, complaint } = await run(program, server);
  if (code === 0) return parseAnswer(program, output);
  // The helpers' one way to say that they have nothing; it comes on standard output.
  if (/credentials not found/i.test(`${output} ${complaint}`)) return undefined;
  throw new EngineError(
    `${program} failed for ${server}: ${oneLine(`${complaint} ${output}`) || `exit status ${code}`}`,
    {
      hint: "log in to the registry again, or correct credsStore in ~/.docker/config.json",
    },
  );
};

async function run(program: string, server: string): Promise<{ code: number; output: string; complaint: string }> {
  const child = spawn(programNamed(program), ["get"], {
    stdio: ["pipe", "pipe", "pipe"],
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  // A helper that does not read its input is no failure in itself.
  child.stdin.on("error", () => undefined);
  child.stdin.end(server);
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", (error) =>
      reject(
        new EngineError(
          `the registry's credentials are kept by ${program}, which cannot be run: ${whyNotStarted(error)}`,
          {
            hint: "install it, or log in to the registry again without credsStore in ~/.docker/config.json",
            cause: error,
          },
        ),
      ),
    );
    child.once("close", (code) => resolve(code ?? -1));
  });
  const [code, output, complaint] = await Promise.all([ended, readText(child.stdout), readText(child.stderr)]);
  return { code, output, complaint };
}

function parseAnswer(program: string, output: string): HelperAnswer | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    // Never quoted, not by the parser either: it is the secret.
    throw new EngineError(`${program} answered with what is no JSON`);
  }
  const username = text(object(answer).Username);
  return username === "" ? undefined : { username, secret: text(object(answer).Secret) };
}
