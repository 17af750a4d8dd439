package pvesim

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A section is one part of a guest's config file: the current one, the pending
// changes, or a snapshot.
type section struct {
	vals map[string]string
	desc string   // without its trailing newlines; "" is none
	env  []string // KEY=value
	raw  [][2]string
	del  []string // pending deletions, sorted
}

// A config is a guest's config file. PVE: write_pct_config, parse_pct_config.
type config struct {
	section
	pending section
	snaps   map[string]*section

	cached string
	digest string
	json   []byte // the answer of GET config
	root   *mountPoint
	status []byte // the beginning of its entry in lists
}

func newSection() section { return section{vals: make(map[string]string)} }

func newConfig() *config {
	return &config{section: newSection(), pending: newSection(), snaps: make(map[string]*section)}
}

// touch forgets what was made of the config; whoever changes it calls it.
func (c *config) touch() {
	c.cached, c.digest, c.json, c.root = "", "", nil, nil
	c.status = nil
}

// rootfs is the root mount point, empty where there is none.
func (c *config) rootfs() *mountPoint {
	if c.root == nil {
		m, _ := parseMountPoint("rootfs", c.vals["rootfs"])
		c.root = &m
	}
	return c.root
}

// text is the file, byte by byte.
func (c *config) text() string {
	if c.cached == "" {
		var b strings.Builder
		c.section.render(&b)
		if !c.pending.empty() {
			b.WriteString("\n[pve:pending]\n")
			c.pending.render(&b)
		}
		for _, name := range sortedKeys(c.snaps) {
			b.WriteString("\n[" + name + "]\n")
			c.snaps[name].render(&b)
		}
		c.cached = b.String()
		sum := sha1.Sum([]byte(c.cached))
		c.digest = hex.EncodeToString(sum[:])
	}
	return c.cached
}

func (c *config) sum() string {
	c.text()
	return c.digest
}

func (sec *section) empty() bool {
	return len(sec.vals) == 0 && sec.desc == "" && len(sec.env) == 0 && len(sec.raw) == 0 && len(sec.del) == 0
}

func (sec *section) render(b *strings.Builder) {
	if sec.desc != "" {
		for _, line := range strings.Split(sec.desc, "\n") {
			b.WriteByte('#')
			encodeText(b, line)
			b.WriteByte('\n')
		}
	}
	keys := sortedKeys(sec.vals)
	if len(sec.del) > 0 {
		keys = append(keys, "delete")
		sort.Strings(keys)
	}
	for _, k := range keys {
		b.WriteString(k)
		b.WriteString(": ")
		if k == "delete" {
			b.WriteString(strings.Join(sec.del, ","))
		} else {
			b.WriteString(sec.vals[k])
		}
		b.WriteByte('\n')
	}
	for _, e := range sec.env {
		b.WriteString("lxc.environment.runtime: " + e + "\n")
	}
	for _, kv := range sec.raw {
		b.WriteString(kv[0] + ": " + kv[1] + "\n")
	}
}

// has reports whether a key is set, the description and env included.
func (sec *section) has(key string) bool {
	_, ok := sec.get(key)
	return ok
}

func (sec *section) get(key string) (string, bool) {
	switch key {
	case "description":
		return sec.desc, sec.desc != ""
	case "env":
		return strings.Join(sec.env, "\x00"), len(sec.env) > 0
	}
	v, ok := sec.vals[key]
	return v, ok
}

func (sec *section) set(key, value string) {
	switch key {
	case "description":
		sec.desc = strings.TrimRight(value, "\n")
	case "env":
		sec.env = nil
		if value != "" {
			sec.env = strings.Split(value, "\x00")
		}
	default:
		if sec.vals == nil {
			sec.vals = make(map[string]string)
		}
		sec.vals[key] = value
	}
}

func (sec *section) unset(key string) {
	switch key {
	case "description":
		sec.desc = ""
	case "env":
		sec.env = nil
	default:
		delete(sec.vals, key)
	}
}

// keys are all that are set, sorted.
func (sec *section) keys() []string {
	keys := sortedKeys(sec.vals)
	if sec.desc != "" {
		keys = append(keys, "description")
	}
	if len(sec.env) > 0 {
		keys = append(keys, "env")
	}
	sort.Strings(keys)
	return keys
}

func (sec *section) clone() *section {
	c := &section{desc: sec.desc, vals: make(map[string]string, len(sec.vals))}
	for k, v := range sec.vals {
		c.vals[k] = v
	}
	c.env = append([]string(nil), sec.env...)
	c.raw = append([][2]string(nil), sec.raw...)
	return c
}

// num is a key's number; 0 when it is unset.
func (sec *section) num(key string) int {
	n, _ := strconv.Atoi(sec.vals[key])
	return n
}

// parseConfig reads a config file; what it cannot read it leaves out, as PVE does.
func parseConfig(text string) *config {
	c := newConfig()
	sec := &c.section
	var desc []string
	flush := func() { sec.desc = strings.TrimRight(strings.Join(desc, "\n"), "\n"); desc = nil }
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case strings.TrimSpace(line) == "":
		case line[0] == '#':
			desc = append(desc, decodeText(line[1:]))
		case line[0] == '[':
			flush()
			name := strings.Trim(strings.TrimSpace(line), "[]")
			if strings.EqualFold(name, "pve:pending") {
				sec = &c.pending
			} else {
				s := newSection()
				sec = &s
				c.snaps[name] = sec
			}
		default:
			k, v, ok := strings.Cut(line, ":")
			if strings.HasPrefix(line, "lxc.") {
				if i := strings.IndexAny(line, ":="); i > 0 {
					k, v, ok = strings.TrimSpace(line[:i]), line[i+1:], true
				}
			}
			if !ok {
				continue
			}
			v = strings.TrimSpace(v)
			switch {
			case k == "lxc.environment.runtime":
				sec.env = append(sec.env, v)
			case strings.HasPrefix(k, "lxc."):
				sec.raw = append(sec.raw, [2]string{k, v})
			case k == "delete" && sec == &c.pending:
				sec.del = splitList(v)
			case k == "snapstate" || k == "snaptime" || k == "parent" || k == "digest" || configSchema.find(k) != nil:
				sec.set(k, v)
			}
		}
	}
	flush()
	return c
}

// encodeText escapes one line of a description. PVE: ParseUtils encode_text.
func encodeText(b *strings.Builder, line string) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c < 0x20 || c > 0x7e || c == '%' || c == ':' {
			fmt.Fprintf(b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
}

func decodeText(line string) string {
	if !strings.Contains(line, "%") {
		return line
	}
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] == '%' && i+2 < len(line) {
			if n, err := strconv.ParseUint(line[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(line[i])
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// splitList splits a PVE list: at commas, semicolons, blanks and NULs. PVE: split_list.
func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool {
		return r == ',' || r == ';' || r == ' ' || r == '\t' || r == 0 || r == '\n'
	})
}
