import { createConnection } from "node:net";
import { LaunchError } from "../config/errors.ts";

/** No sshd says more before its banner. */
const LONGEST_GREETING = 8192;

/**
 * Waits until a node's sshd answers: a banner (RFC 4253, 4.2) through its unix socket.
 *
 * @param path of the socket
 * @throws LaunchError when the connection ends before
 */
export async function readBanner(node: string, path: string): Promise<void> {
  const socket = createConnection({ path });
  try {
    let text = "";
    for await (const chunk of socket.setEncoding("latin1")) {
      text += String(chunk);
      if (/^SSH-2\.0-/m.test(text)) return;
      if (text.length > LONGEST_GREETING) break;
    }
    throw new LaunchError(node, "its sshd ended without an answer", {
      hint: "are the limits of processes (--pids-limit) and memory too low for it? it needs a few of either",
    });
  } catch (error) {
    if (error instanceof LaunchError) throw error;
    throw new LaunchError(node, "its sshd cannot be reached", { cause: error });
  } finally {
    socket.destroy();
  }
}
