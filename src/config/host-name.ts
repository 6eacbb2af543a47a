/** One label of a host name. Underscores are no DNS, but Slurm, Docker and PBS sites use them. */
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** RFC 1035, section 2.3.4, as text without the last dot. */
export const HOST_NAME_LENGTH = 253;

/** Whether `text` can be the name of a node: labels of letters, digits, `-`, `_`, at most 253 characters. */
export function isNodeName(text: string): boolean {
  return text.length <= HOST_NAME_LENGTH && text.split(".").every((label) => LABEL.test(label));
}
