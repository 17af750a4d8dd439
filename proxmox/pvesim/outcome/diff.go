package outcome

import (
	"strings"
)

// Diff compares two states ([State]) line by line: what only the first has
// begins with -, what only the second has with +, and the line that it belongs to (the guest,
// the node) stands before it. Of equal texts it is empty.
func Diff(a, b string) string {
	as, bs := strings.Split(strings.TrimSuffix(a, "\n"), "\n"), strings.Split(strings.TrimSuffix(b, "\n"), "\n")
	// longest[i][j] is the length of the longest common part of as[i:] and bs[j:]
	longest := make([][]int, len(as)+1)
	for i := range longest {
		longest[i] = make([]int, len(bs)+1)
	}
	for i := len(as) - 1; i >= 0; i-- {
		for j := len(bs) - 1; j >= 0; j-- {
			if as[i] == bs[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out strings.Builder
	about, named := "", true
	write := func(mark, line string) {
		if !named {
			out.WriteString("  " + about + "\n")
			named = true
		}
		out.WriteString(mark + " " + line + "\n")
	}
	for i, j := 0, 0; i < len(as) || j < len(bs); {
		switch {
		case i < len(as) && j < len(bs) && as[i] == bs[j]:
			if !strings.HasPrefix(as[i], " ") {
				about, named = as[i], false
			}
			i, j = i+1, j+1
		case j == len(bs) || i < len(as) && longest[i+1][j] >= longest[i][j+1]:
			write("-", as[i])
			i++
		default:
			write("+", bs[j])
			j++
		}
	}
	return out.String()
}
