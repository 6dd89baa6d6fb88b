package config

import "strings"

// didYouMean is "; did you mean x?" for the word nearest to a wrong one, and
// empty if none is near.
func didYouMean(wrong string, words []string) string {
	wrong = strings.ToLower(wrong)
	best, bestDistance := "", 1+max(2, len(wrong)/3)
	for _, w := range words {
		// A distance of the word's whole length is no likeness.
		if d := distance(wrong, strings.ToLower(w)); d < bestDistance && d < max(len(w), len(wrong)) {
			best, bestDistance = w, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the Levenshtein distance in bytes, of long words only an upper
// bound: they are typos of nothing.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
