package text

import (
	"regexp"
	"strconv"
)

// percents are the forms in which PVE's task logs tell how far a task is: vzdump of a VM ("12% (3.8 GiB of 32.0 GiB) in
// 9s", before PVE 6.3 "status: 12% (...)"), the restore of a VM ("progress 12% (read ...)"), the copy of a disk
// ("transferred 1.0 GiB of 8.0 GiB (12.50%)"). A vzdump of a container and its restore tell none.
var percents = regexp.MustCompile(`^(?:status: |progress )? *(\d{1,3})% \(|^transferred .*\((\d{1,3})(?:\.\d+)?%\)`)

// Percent is how far a task is by a line of its log, where the line tells.
func Percent(line string) (percent int, ok bool) {
	m := percents.FindStringSubmatch(line)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1] + m[2])
	return n, err == nil && n <= 100
}
