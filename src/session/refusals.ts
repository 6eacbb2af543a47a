/** A log-in that a node's sshd refused. */
export interface Refusal {
  /** For the user, in words. */
  readonly reason: string;
  readonly hint: string;
}

/** A key that the owner had signed, as the launcher remembers it. Times are ISO 8601. */
export interface SignedBefore {
  /** Decimal. */
  readonly serial: string;
  /** `SHA256:…` */
  readonly fingerprint: string;
  readonly comment: string;
  readonly expires: string;
  readonly revoked: boolean;
}

/** What a refusal is judged by. */
export interface Surroundings {
  readonly job: string;
  /** Fingerprint of the job's authority, `SHA256:…`; undefined: not known. */
  readonly authority: string | undefined;
  /** None where the launcher did not answer. */
  readonly keys: readonly SignedBefore[];
  readonly now: Date;
}

interface Rule {
  readonly form: RegExp;
  explain(match: RegExpExecArray): Refusal | undefined;
}

/** Of a certificate that is not known more closely. */
const EXPIRED = "a key's certificate had expired";

function named({ serial, comment }: SignedBefore): string {
  return comment === "" ? `key ${serial}` : `key ${serial} (${comment})`;
}

/** What sshd (OpenSSH 10.0, with the own-uid patch) writes, and what it means here. */
function rulesFor({ job, authority, keys, now }: Surroundings): readonly Rule[] {
  const sign = `gangway key authorize ${job} < KEY.pub > KEY-cert.pub`;
  const signAgain = `have it signed again: ${sign}`;
  const leaveOut = `leave the user's name out: ssh ${job}.job`;
  return [
    {
      form: /^User (\S+) (?:from \S+ )?not allowed because (.*)$/,
      explain: ([, user = ""]) => ({
        reason: `somebody asked to log in as ${user}: only the job's own user can`,
        hint: leaveOut,
      }),
    },
    {
      form: /^Invalid user (.*) from /,
      explain: ([, user = ""]) => ({
        reason: `somebody asked to log in as ${user}, whom the job does not know`,
        hint: leaveOut,
      }),
    },
    {
      form: /^(?:error: )?Certificate invalid: expired/,
      explain: () => ({ reason: EXPIRED, hint: signAgain }),
    },
    {
      form: /^(?:error: )?Certificate invalid: not yet valid/,
      explain: () => ({
        reason: "a key's certificate was not valid yet",
        hint: "the clock of one of the hosts is wrong",
      }),
    },
    {
      form: /^(?:error: )?(?:Certificate does not contain an authorized principal|Certificate invalid: name is not a listed principal)/,
      explain: () => ({ reason: "a key's certificate was for another job", hint: signAgain }),
    },
    {
      form: /^(?:error: )?Authentication key (\S+) (SHA256:\S+) revoked/,
      explain: ([, , key = ""]) => ({ reason: `the key ${key} was revoked`, hint: signAgain }),
    },
    {
      form: /^Failed publickey for .* ssh2: \S+-CERT (SHA256:\S+) ID .* \(serial (\d+)\) CA \S+ (SHA256:\S+)$/,
      explain: ([, key = "", serial, signer]) => {
        if (authority !== undefined && signer !== authority) {
          return {
            reason: `the key ${key} came with a certificate of another authority`,
            hint: `each job has its own, also one that has an id again; for this one: ${sign}`,
          };
        }
        const known = keys.find((entry) => entry.serial === serial);
        if (known === undefined || known.revoked || new Date(known.expires) > now) return undefined;
        return { reason: `the certificate of ${named(known)} had expired, at ${known.expires}`, hint: signAgain };
      },
    },
    {
      form: /^Failed publickey for .* ssh2: (?!\S+-CERT )\S+ (SHA256:\S+)$/,
      explain: ([, key = ""]) => {
        const known = keys.findLast(({ fingerprint }) => fingerprint === key);
        if (known === undefined)
          return { reason: `the key ${key} was never signed for this job`, hint: `have it signed: ${sign}` };
        return {
          reason: `${named(known)} came without its certificate`,
          hint: "give it to ssh beside the key: -i KEY -o CertificateFile=KEY-cert.pub",
        };
      },
    },
  ];
}

/**
 * The last refusals in a node's sshd.log. Lines of connections at the same time may be mixed, so that each line is taken
 * for itself.
 *
 * @param most how many at most, the newest; the same reason is told once
 * @returns oldest first. sshd writes no times: they may be as old as the node
 */
export function refusalsIn(log: string, surroundings: Surroundings, most: number): readonly Refusal[] {
  const rules = rulesFor(surroundings);
  const found = new Map<string, Refusal>();
  const lines = log.split(/\r?\n/);
  // ssh offers a key with its certificate and without, some versions in this order and some in the other: without says less.
  const told = new Set(lines.flatMap((line) => /-CERT (SHA256:\S+) ID /.exec(line)?.[1] ?? []));
  for (const line of lines) {
    for (const { form, explain } of rules) {
      const match = form.exec(line);
      const refusal = match === null ? undefined : explain(match);
      if (refusal === undefined) continue;
      const plain = !line.includes("-CERT ") && line.startsWith("Failed publickey");
      if (plain && told.has(match?.[1] ?? "")) continue;
      found.delete(refusal.reason);
      found.set(refusal.reason, refusal);
    }
  }
  // The line that says that a certificate had expired names no key; the next line does.
  if ([...found.keys()].some((reason) => reason.startsWith("the certificate of "))) found.delete(EXPIRED);
  return [...found.values()].slice(-most);
}
