package privileged

import (
	"strconv"
	"strings"
)

// mountLine is a line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
type mountLine struct {
	path, root, source, fstype string
	options                    []string // of the mount, then of the file system, each once
	major, minor               int
}

// parseMountInfo reads a mount table; lines that it does not understand are left out, and those where systemd or autofs waits for the first access to mount
// something (autofs(5)): nothing is mounted there yet, and what is comes as a line of its own.
func parseMountInfo(data []byte) []mountLine {
	var lines []mountLine
	for _, text := range strings.Split(string(data), "\n") {
		front, back, ok := strings.Cut(text, " - ")
		f, b := strings.Fields(front), strings.Split(back, " ") // a source may be empty
		if !ok || len(f) < 6 || len(b) < 2 || b[0] == "" || b[0] == "autofs" {
			continue
		}
		major, minor, ok := strings.Cut(f[2], ":")
		ma, err1 := strconv.Atoi(major)
		mi, err2 := strconv.Atoi(minor)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		l := mountLine{path: unescapeOctal(f[4]), root: unescapeOctal(f[3]), fstype: b[0], source: unescapeOctal(b[1]), major: ma, minor: mi}
		seen := map[string]bool{}
		super := ""
		if len(b) > 2 {
			super = b[2]
		}
		for _, o := range append(strings.Split(f[5], ","), strings.Split(super, ",")...) {
			if o != "" && !seen[o] {
				seen[o] = true
				l.options = append(l.options, o)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// automounts are the paths at which the first access mounts something.
func automounts(data []byte) map[string]bool {
	paths := map[string]bool{}
	for _, text := range strings.Split(string(data), "\n") {
		front, back, ok := strings.Cut(text, " - ")
		if f := strings.Fields(front); ok && len(f) >= 6 && strings.HasPrefix(back, "autofs ") {
			paths[unescapeOctal(f[4])] = true
		}
	}
	return paths
}

// topmost is what is seen at each path: of several mounts on one path the last.
func topmost(lines []mountLine) []mountLine {
	last := map[string]int{}
	for i, l := range lines {
		last[l.path] = i
	}
	var out []mountLine
	for i, l := range lines {
		if last[l.path] == i {
			out = append(out, l)
		}
	}
	return out
}

// mountedAt is the topmost mount at exactly this path.
func mountedAt(lines []mountLine, at string) (mountLine, bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].path == at {
			return lines[i], true
		}
	}
	return mountLine{}, false
}

// Under says on which of the mounts a path lies: the one with the longest path that leads to it. ok is false when there is none.
func Under(mounts []Mount, at string) (m Mount, ok bool) {
	for _, c := range mounts {
		if c.Mounted && within(at, c.Path) && (!ok || len(c.Path) >= len(m.Path)) {
			m, ok = c, true
		}
	}
	return m, ok
}

// within says whether p is dir or lies below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// SealsMountPoints says whether a file system of this type can keep an empty mount point immutable, so that nothing fills it while the disk is
// away. Ask it about what lies under the mount point ([Under]); where it is false a plan should say so.
func SealsMountPoints(fstype string) bool {
	switch fstype {
	case "ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs":
		return true
	}
	return false
}
