/** More cpus than any machine has. */
const MOST_CPUS = 65_536;

/**
 * Reads a list of cpus as the kernel writes it (cpuset(7), "List format"): `0-3,8`.
 *
 * @returns their numbers, ascending; undefined where the text is no such list
 */
export function parseCpuList(text: string): number[] | undefined {
  const cpus = new Set<number>();
  for (const part of text.trim().split(",")) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match === null || last < first || last >= MOST_CPUS) return undefined;
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((one, other) => one - other);
}

/** The inverse of {@link parseCpuList}. */
export function formatCpuList(cpus: readonly number[]): string {
  const parts: string[] = [];
  for (let at = 0; at < cpus.length; at++) {
    const first = cpus[at] ?? 0;
    let last = first;
    while (cpus[at + 1] === last + 1) {
      last += 1;
      at += 1;
    }
    parts.push(first === last ? String(first) : `${first}-${last}`);
  }
  return parts.join(",");
}
