/** Number of single-letter slips between two words; two neighbours swapped count as one. */
export function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** Case and the ways to join words are no difference: `udi_image_path` means `udiImagePath`. */
function plain(word: string): string {
  return word.replaceAll(/[-_.\s]/g, "").toLowerCase();
}

/**
 * The name that was probably meant, or undefined where nothing is near enough: short words forgive one slip,
 * longer ones two or three. Of equally near ones the first wins.
 */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  const wanted = plain(word);
  // Nobody mistypes a name by so much, and the distance of long texts costs time.
  if (wanted === "" || wanted.length > 64) return undefined;
  const limit = wanted.length <= 3 ? 1 : wanted.length <= 6 ? 2 : 3;
  let best: string | undefined;
  let least = limit + 1;
  for (const name of names) {
    const candidate = plain(name);
    const slips = distance(wanted, candidate);
    // A word of two letters is one slip away from any other of one; something must be left in common.
    if (slips < least && slips < candidate.length) {
      best = name;
      least = slips;
    }
  }
  return best;
}

/** "Did you mean X?" as a hint for an error, or what else is to be said where nothing is near. */
export function didYouMean(word: string, names: Iterable<string>, otherwise?: string): string | undefined {
  const name = nearest(word, names);
  return name === undefined ? otherwise : `did you mean ${name}?`;
}
