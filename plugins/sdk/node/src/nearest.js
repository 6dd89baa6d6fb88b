/**
 * ` (did you mean "x"?)` for the known word nearest to a wrong one, and "" if none
 * is near.
 * @param {string} wrong
 * @param {string[]} known
 */
export function didYouMean(wrong, known) {
  const best = nearest(wrong, known);
  if (!best || distance(wrong.toLowerCase(), best.toLowerCase()) > Math.max(2, Math.floor(wrong.length / 3))) return "";
  return ` (did you mean "${best}"?)`;
}

/**
 * @param {string} wrong
 * @param {string[]} known
 */
export function nearest(wrong, known) {
  let best = "";
  let least = Infinity;
  for (const k of known) {
    const d = distance(wrong.toLowerCase(), k.toLowerCase());
    if (d < least) [best, least] = [k, d];
  }
  return best;
}

/**
 * The Levenshtein distance.
 * @param {string} a
 * @param {string} b
 */
function distance(a, b) {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    let diagonal = row[0];
    row[0] = i + 1;
    for (let j = 0; j < b.length; j++) {
      const cost = a[i] === b[j] ? diagonal : diagonal + 1;
      diagonal = row[j + 1];
      row[j + 1] = Math.min(cost, row[j] + 1, diagonal + 1);
    }
  }
  return row[b.length];
}
