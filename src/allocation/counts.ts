import { fault, quote, type Where } from "../config/where.ts";
import { MOST_NAMES } from "./hostlist.ts";
import { parseSlots } from "./read.ts";

/**
 * Slurm's short form of a number a node: `2(x3),1` is 2, 2, 2, 1.
 *
 * @throws GangwayError that says what is wrong at which character, counted from 1
 */
export function parseCounts(text: string, where: Where): number[] {
  const counts: number[] = [];
  let at = 0;
  for (const written of text.split(",")) {
    const match = /^([0-9]{1,5})(?:\(x([1-9][0-9]{0,5})\))?$/.exec(written);
    const times = Number(match?.[2] ?? 1);
    if (match === null || counts.length + times > MOST_NAMES) {
      const reason =
        match === null ? "is neither a number nor one with its repeats" : `is for more than ${MOST_NAMES} nodes`;
      throw fault(
        where,
        `${quote(text)}: ${quote(written)} ${reason}, at character ${at + 1}`,
        "write 2(x3),1 for 2, 2, 2, 1",
      );
    }
    const count = parseSlots(match[1] ?? "", where);
    for (let repeat = 0; repeat < times; repeat++) counts.push(count);
    at += written.length + 1;
  }
  return counts;
}

/** The shortest form that {@link parseCounts} makes the same numbers of. */
export function foldCounts(counts: readonly number[]): string {
  const written: string[] = [];
  for (let start = 0, end = 0; start < counts.length; start = end) {
    while (end < counts.length && counts[end] === counts[start]) end++;
    written.push(end - start === 1 ? `${counts[start]}` : `${counts[start]}(x${end - start})`);
  }
  return written.join(",");
}
