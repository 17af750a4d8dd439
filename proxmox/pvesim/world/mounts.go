package world

import (
	"path"
	"strings"
)

// FstabLines are the entries of the host's fstab.
func (n *Node) FstabLines() [][]string {
	var lines [][]string
	for _, line := range strings.Split(n.Fstab, "\n") {
		if f := strings.Fields(line); len(f) >= 4 && !strings.HasPrefix(f[0], "#") { // elsewhere a # is a character as any other
			f[1] = mntent.Replace(f[1])
			lines = append(lines, f)
		}
	}
	return lines
}

// Mountpoint reports whether something is mounted at a path.
func (n *Node) Mountpoint(p string) bool {
	return n.MountAt(path.Clean(p)).Target == path.Clean(p)
}
