package sdk

import (
	"fmt"
	"strings"
)

// didYouMean is ` (did you mean "x"?)` for the known word nearest to a wrong
// one, and empty if none is near.
func didYouMean(wrong string, known []string) string {
	best, bestDistance := "", 1+max(2, len(wrong)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(wrong), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is the Levenshtein distance, in bytes: good enough for identifiers.
func distance(a, b string) int {
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
