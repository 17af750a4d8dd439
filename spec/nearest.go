package spec

import (
	"fmt"
	"strings"
)

// Nearest is the one of the known words that was probably meant; "" where none
// is like it.
func Nearest(word string, known []string) (best string) {
	distance := 3
	if len(word) < 4 {
		distance = 2
	}
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// suggest is "Did you mean X?" for a word that is nearly one of the known, or
// the list of them.
func suggest(word string, known []string) string {
	if best := Nearest(word, known); best != "" {
		return fmt.Sprintf("Did you mean %s?", best)
	}
	if len(known) == 0 {
		return "Remove it."
	}
	return "Known are " + list(known) + "."
}

// list is "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// editDistance counts the letters to insert, drop, change or swap with their
// neighbour.
func editDistance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 99
	}
	var before, last, row []int
	for j := 0; j <= len(b); j++ {
		last = append(last, j)
	}
	for i := 1; i <= len(a); i++ {
		row = []int{i}
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row = append(row, d)
		}
		before, last = last, row
	}
	return last[len(b)]
}
