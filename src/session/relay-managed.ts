import { STATUS, UsageError } from "../config/errors.ts";
import { withoutComment } from "../udi/public-keys.ts";
import { checkMeant } from "./carrier.ts";
import type { ManagedJob } from "./carriers/client.ts";
import { openCarrier } from "./carriers/switchboard.ts";
import { isCarriedKey } from "./carriers/words.ts";
import { type KitReply, parseKitReply } from "./kit-reply.ts";
import { withPrivateDirectory } from "./private-directory.ts";
import type { Seeker } from "./resolve.ts";

/** A key of somebody elsewhere, for a job to which this host's workload manager leads. */
export interface ManagedRelayRequest {
  readonly seeker: Seeker;
  /** The setting runDirectory. */
  readonly runDirectory: string | undefined;
  readonly managed: ManagedJob;
  /** A line TYPE BASE64 COMMENT. */
  readonly publicKey: string;
}

/**
 * Has a key signed through the workload manager, for somebody who can reach only this host: the answer says by which manager the
 * way goes on, each connection of theirs by a `gangway proxy` here.
 *
 * @throws UsageError for a key of another kind than ed25519; JobError as {@link openCarrier}
 */
export async function relayManagedKit(request: ManagedRelayRequest): Promise<KitReply> {
  const { seeker, runDirectory, managed } = request;
  const publicKey = isCarriedKey(request.publicKey) ? request.publicKey : withoutComment(request.publicKey);
  if (!isCarriedKey(publicKey)) {
    throw new UsageError(`only an ed25519 key is signed through ${managed.title}`, {
      hint: "make one: ssh-keygen -t ed25519; with the fragment of ssh-config: --identity names it",
      exitCode: STATUS.usage,
    });
  }
  return await withPrivateDirectory(
    seeker.places,
    runDirectory,
    async (directory) => {
      const stream = await openCarrier(managed, seeker.carriers(), { directory, publicKey });
      try {
        const reply = checkMeant(parseKitReply(stream.kit), managed.reading, managed.title, managed.means);
        return { ...reply, carried: managed.way };
      } finally {
        stream.close();
      }
    },
    { guarded: true },
  );
}
