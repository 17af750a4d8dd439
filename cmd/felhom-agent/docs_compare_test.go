package main_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// printed are the lines of an output, without the blanks at their ends.
func printed(out string) []string {
	lines := strings.Split(strings.TrimRight(out, " \t\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t")
	}
	return lines
}

// varying is what differs from one run to the next: clocks, how long something took, ages, process numbers.
var varying = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\d\d:\d\d(:\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{1,2} [A-Z][a-z]{2}( 20\d\d)?`), "DAY"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT?`), "DATE"},
	{regexp.MustCompile(`\d+ requests?, \d+\.\d+ s`), "REQUESTS"},
	{regexp.MustCompile(`\d+ (s|min|h) (old|ago)`), "AGE"},
	{regexp.MustCompile(`UPID:\S+`), "UPID"},
	{regexp.MustCompile(`[a-z]+@[a-z]+ on \S+`), "SOMEBODY"},
}

func masked(line string) string {
	for _, v := range varying {
		line = v.pattern.ReplaceAllLiteralString(line, v.by)
	}
	return line
}

// same reports whether the lines that are shown are those that were printed, where "..." is any lines.
func same(shown, have []string) bool {
	for len(shown) > 0 {
		if strings.TrimSpace(shown[0]) == "..." {
			for i := 0; i <= len(have); i++ {
				if same(shown[1:], have[i:]) {
					return true
				}
			}
			return false
		}
		if len(have) == 0 || masked(shown[0]) != masked(have[0]) {
			return false
		}
		shown, have = shown[1:], have[1:]
	}
	return len(have) == 0
}

// elided leaves out as much of a new output as was left out before.
func elided(shown, fresh []string) []string {
	for i, line := range shown {
		if strings.TrimSpace(line) != "..." {
			continue
		}
		tail := len(shown) - i - 1
		if i+tail >= len(fresh) {
			return fresh
		}
		return append(append(append([]string{}, fresh[:i]...), line), fresh[len(fresh)-tail:]...)
	}
	return fresh
}

// TestDocsFindTheirMistakes holds that a wrong output would be seen.
func TestDocsFindTheirMistakes(t *testing.T) {
	for _, c := range []struct {
		shown, have string
		want        bool
	}{
		{"refreshed 18:02:09 (23 requests, 0.01 s)", "refreshed 18:03:11 (24 requests, 0.20 s)", true},
		{"refreshed 18:02:09", "looked 18:02:09", false},
		{"a\n...\nd", "a\nb\nc\nd", true},
		{"a\n...\nd", "a\nb\nc", false},
		{"a", "a\nb", false},
		{"a\nb", "a", false},
	} {
		if have := same(strings.Split(c.shown, "\n"), strings.Split(c.have, "\n")); have != c.want {
			t.Errorf("%q and %q: %t", c.shown, c.have, have)
		}
	}
	lines := strings.Split("prose\n\n```console host\n$ a\n```\n\n    go run .\n", "\n")
	if have := fmt.Sprint(blocks(lines)); have != "[{console [host] 3 4} {sh [repo] 6 7}]" {
		t.Errorf("the blocks are %s", have)
	}
}
