/** A log-in that a node's sshd refused. */
export interface Refusal {
  /** For the user, in words. */
  readonly reason: string;
  readonly hint: string;
}

interface Rule {
  readonly form: RegExp;
  explain(match: RegExpExecArray): Refusal | undefined;
}

const SIGN_AGAIN = "have it signed again: gangway key authorize JOB < KEY.pub";

/** What sshd (OpenSSH 10.0, with the own-uid patch) writes, and what it means here. */
function rulesFor(authority: string | undefined): readonly Rule[] {
  return [
    {
      form: /^User (\S+) (?:from \S+ )?not allowed because (.*)$/,
      explain: ([, user = ""]) => ({
        reason: `somebody asked to log in as ${user}: only the job's own user can`,
        hint: "leave the user's name out: ssh JOB.job",
      }),
    },
    {
      form: /^Invalid user (.*) from /,
      explain: ([, user = ""]) => ({
        reason: `somebody asked to log in as ${user}, whom the job does not know`,
        hint: "leave the user's name out: ssh JOB.job",
      }),
    },
    {
      form: /^(?:error: )?Certificate invalid: expired/,
      explain: () => ({ reason: "a key's certificate had expired", hint: SIGN_AGAIN }),
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
      explain: () => ({ reason: "a key's certificate was for another job", hint: SIGN_AGAIN }),
    },
    {
      form: /^(?:error: )?Authentication key (\S+) (SHA256:\S+) revoked/,
      explain: ([, , key = ""]) => ({ reason: `the key ${key} was revoked`, hint: SIGN_AGAIN }),
    },
    {
      form: /^Failed publickey for .* ssh2: \S+-CERT (SHA256:\S+) ID .* CA \S+ (SHA256:\S+)$/,
      explain: ([, key = "", signer]) =>
        authority === undefined || signer === authority
          ? undefined
          : {
              reason: `the key ${key} came with a certificate of another authority`,
              hint: `each job has its own, also one that has an id again: ${SIGN_AGAIN}`,
            },
    },
    {
      form: /^Failed publickey for .* ssh2: (?!\S+-CERT )\S+ (SHA256:\S+)$/,
      explain: ([, key = ""]) => ({ reason: `the key ${key} was never signed for this job`, hint: SIGN_AGAIN }),
    },
  ];
}

/**
 * The last refusals in a node's sshd.log. Lines of connections at the same time may be mixed, so that each line is taken
 * for itself.
 *
 * @param authority fingerprint of the job's authority, `SHA256:…`
 * @param most how many at most, the newest; the same reason is told once
 */
export function refusalsIn(log: string, authority: string | undefined, most: number): readonly Refusal[] {
  const rules = rulesFor(authority);
  const found = new Map<string, Refusal>();
  // ssh offers a key with its certificate first and then without: the second says less.
  const told = new Set<string>();
  for (const line of log.split(/\r?\n/)) {
    const certificate = /-CERT (SHA256:\S+) ID /.exec(line)?.[1];
    if (certificate !== undefined) told.add(certificate);
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
  return [...found.values()].slice(-most);
}
