/**
 * A node's sshd_config: who may enter, then the udiImage's settings, which the administrator may edit.
 *
 * `AllowUsers` takes patterns (`*`, `?`, `!`, `USER@HOST`) and its words cannot be quoted in every version, so each byte of
 * the name that is not a letter, digit, `.`, `_` or `-` becomes `?`, which matches one byte. That lets names in that
 * differ there; the sshd of the udiImage accepts the account of its own uid alone (patch own-uid), so it adds nobody.
 *
 * @param user name of the job's user
 * @param include absolute path, in the container, of the settings that are the same for every job
 */
export function renderSshdConfig(user: string, include = "/opt/udiImage/etc/sshd_config"): string {
  const bytes = Buffer.from(user, "utf8").toString("latin1");
  const pattern = bytes.replace(/[^A-Za-z0-9._-]/g, "?");
  return [
    "# Made by gangway for this job; settings for every job are in the file included below.",
    `AllowUsers ${pattern}`,
    `Include ${include}`,
    "",
  ].join("\n");
}
