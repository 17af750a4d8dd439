package privileged

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// nameOption marks a line of /etc/fstab as ours and says whose it is. Options that begin with x- are neither the kernel's nor mount's.
const nameOption = "x-felhom.name="

const fstabPath = "/etc/fstab"

// FstabEntry is the line that [MountUSBByUUID] keeps in /etc/fstab, without a newline: compare it with the Text of a [FstabLine]. It is empty when m
// asks for none. Options: those that every line of ours has, then those of m, then the name of its object.
//
// The boot must not wait for a disk: systemd orders nothing after a mount with nofail (systemd.mount(5)), so the time limit may be long enough for a slow
// machine, on which ten seconds were seen to be too short for a disk that was connected. A disk comes from anywhere: nosuid and nodev keep it from giving
// root to a user of the host.
func FstabEntry(m MountSpec) string {
	if !m.Fstab {
		return ""
	}
	return fstabEntry(m.Name, m.UUID, m.Path, m.FSType, strings.Join(m.Options, ","))
}

// safeOptions are those that every mount has, whatever the request says.
var safeOptions = []string{"nosuid", "nodev"}

func fstabEntry(name, uuid, path, fstype, options string) string {
	if fstype == "" {
		fstype = "auto"
	}
	all := append([]string{"nofail"}, safeOptions...)
	if !strings.Contains(options, "x-systemd.device-timeout=") {
		all = append(all, "x-systemd.device-timeout=5min")
	}
	for _, o := range strings.Split(options, ",") {
		if o != "" && o != "nofail" && o != "defaults" && !slices.Contains(safeOptions, o) {
			all = append(all, o)
		}
	}
	all = append(all, nameOption+name)
	return fmt.Sprintf("UUID=%s %s %s %s 0 0", uuid, escapeOctal(path), fstype, strings.Join(all, ","))
}

// fstab is the file as its lines, each with its line ending, so that joining them gives back every byte.
type fstab [][]byte

func parseFstab(data []byte) fstab {
	return bytes.SplitAfter(data, []byte("\n"))
}

// entry is what a line of the fstab says; ok is false for comments, blank lines and what is no entry.
func entry(line []byte) (l FstabLine, ok bool) {
	text := strings.TrimRight(string(line), "\n")
	f := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(f) < 2 || strings.HasPrefix(f[0], "#") {
		return FstabLine{}, false
	}
	l = FstabLine{Spec: unescapeOctal(f[0]), Path: unescapeOctal(f[1]), Text: text}
	if strings.HasPrefix(l.Path, "/") {
		l.Path = path.Clean(l.Path)
	}
	if len(f) > 3 {
		for _, o := range strings.Split(f[3], ",") {
			if name, ours := strings.CutPrefix(o, nameOption); ours {
				l.Name = name
			}
		}
	}
	return l, true
}

func (f fstab) entries() []FstabLine {
	var lines []FstabLine
	for _, line := range f {
		if l, ok := entry(line); ok {
			lines = append(lines, l)
		}
	}
	return lines
}

// set is the file with want as the only line of the object name: in the place of its first line, else at the end. All other bytes stay.
func (f fstab) set(name, want string) []byte {
	var out []byte
	done := false
	for _, line := range f {
		if l, ok := entry(line); ok && l.Name == name {
			if !done {
				done = true
				out = append(out, want...)
				out = append(out, line[len(l.Text):]...)
			}
			continue
		}
		out = append(out, line...)
	}
	if done {
		return out
	}
	if len(out) > 0 && out[len(out)-1] != '\n' { // a last line without an end: leave ours so too, and drop finds its way back
		return append(append(out, '\n'), want...)
	}
	return append(append(out, want...), '\n')
}

// drop is the file without the lines of the object name.
func (f fstab) drop(name string) []byte {
	var out []byte
	for _, line := range f {
		if l, ok := entry(line); ok && l.Name == name {
			if line[len(line)-1] != '\n' && len(out) > 0 { // see set
				out = out[:len(out)-1]
			}
			continue
		}
		out = append(out, line...)
	}
	return out
}

// fstabOf is the fstab as it must be for m: with its line, or without any line of its object. It refuses where a line of another has the path or the disk.
func (m MountSpec) fstabOf(data []byte) (after string, refused *RefusedError) {
	f := parseFstab(data)
	for _, l := range f.entries() {
		if refused := m.otherLine(l); refused != nil {
			return "", refused
		}
	}
	if line := FstabEntry(m); line != "" {
		return string(f.set(m.Name, line)), nil
	}
	return string(f.drop(m.Name)), nil
}

// octal writes blanks and backslashes as fstab(5) does. No other character: systemd's generator reads the file with getmntent(3), which decodes these four
// alone. A # begins a comment only where a line begins with it.
var octal = strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)

func escapeOctal(s string) string { return octal.Replace(s) }

// unescapeOctal reads \ooo; anything else after a backslash stays as it is.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }
