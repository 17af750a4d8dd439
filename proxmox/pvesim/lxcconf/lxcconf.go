// Package lxcconf is the config file of a container or a virtual machine: its sections (what is, what is pending, the
// snapshots), its mount points, and the text of the file. It is pure.
package lxcconf

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// A Section is one part of a guest's config file: the current one, the pending
// changes, or a snapshot.
type Section struct {
	Vals map[string]string
	Desc string   // without its trailing newlines; "" is none
	Env  []string // KEY=value
	Raw  [][2]string
	Del  []string // pending deletions, sorted
}

// A Config is a guest's config file. PVE: write_pct_config, parse_pct_config.
type Config struct {
	Section
	Pending Section
	Snaps   map[string]*Section
	Written int // how often the file was written, which pmxcfs counts

	cached string
	digest string
	Json   []byte // the answer of GET config
	root   *MountPoint
	Status []byte // the beginning of its entry in lists
}

// NewSection is an empty section.
func NewSection() Section { return Section{Vals: make(map[string]string)} }

// New is an empty config.
func New() *Config {
	return &Config{Section: NewSection(), Pending: NewSection(), Snaps: make(map[string]*Section)}
}

// Touch forgets what was made of the config; whoever changes it calls it.
func (c *Config) Touch() {
	c.cached, c.digest, c.Json, c.root = "", "", nil, nil
	c.Status = nil
}

// Write is a write of the file, whether it says anything else afterwards or not.
func (c *Config) Write() {
	c.Touch()
	c.Written++
}

// Rootfs is the root mount point, empty where there is none.
func (c *Config) Rootfs() *MountPoint {
	if c.root == nil {
		m, _ := ParseMountPoint("rootfs", c.Vals["rootfs"])
		c.root = &m
	}
	return c.root
}

// Text is the file, byte by byte.
func (c *Config) Text() string {
	if c.cached == "" {
		var b strings.Builder
		c.Section.Render(&b)
		if !c.Pending.Empty() {
			b.WriteString("\n[pve:pending]\n")
			c.Pending.Render(&b)
		}
		for _, name := range slices.Sorted(maps.Keys(c.Snaps)) {
			b.WriteString("\n[" + name + "]\n")
			c.Snaps[name].Render(&b)
		}
		c.cached = b.String()
		sum := sha1.Sum([]byte(c.cached))
		c.digest = hex.EncodeToString(sum[:])
	}
	return c.cached
}

// Sum is the digest of the file (SHA-1, hex).
func (c *Config) Sum() string {
	c.Text()
	return c.digest
}

// Empty reports whether nothing is in a section.
func (sec *Section) Empty() bool {
	return len(sec.Vals) == 0 && sec.Desc == "" && len(sec.Env) == 0 && len(sec.Raw) == 0 && len(sec.Del) == 0
}

// Render writes the lines of a section.
func (sec *Section) Render(b *strings.Builder) {
	if sec.Desc != "" {
		for _, line := range strings.Split(sec.Desc, "\n") {
			b.WriteByte('#')
			EncodeText(b, line)
			b.WriteByte('\n')
		}
	}
	keys := slices.Sorted(maps.Keys(sec.Vals))
	if len(sec.Del) > 0 {
		keys = append(keys, "delete")
		sort.Strings(keys)
	}
	for _, k := range keys {
		b.WriteString(k)
		b.WriteString(": ")
		if k == "delete" {
			b.WriteString(strings.Join(sec.Del, ","))
		} else {
			b.WriteString(sec.Vals[k])
		}
		b.WriteByte('\n')
	}
	for _, e := range sec.Env {
		b.WriteString("lxc.environment.runtime: " + e + "\n")
	}
	for _, kv := range sec.Raw {
		b.WriteString(kv[0] + ": " + kv[1] + "\n")
	}
}

// Has reports whether a key is set, the description and env included.
func (sec *Section) Has(key string) bool {
	_, ok := sec.Get(key)
	return ok
}

// Get is the value of a key, description and raw lxc lines too.
func (sec *Section) Get(key string) (string, bool) {
	switch key {
	case "description":
		return sec.Desc, sec.Desc != ""
	case "env":
		return strings.Join(sec.Env, "\x00"), len(sec.Env) > 0
	}
	v, ok := sec.Vals[key]
	return v, ok
}

// Set sets a key to a value.
func (sec *Section) Set(key, value string) {
	switch key {
	case "description":
		sec.Desc = strings.TrimRight(value, "\n")
	case "env":
		sec.Env = nil
		if value != "" {
			sec.Env = strings.Split(value, "\x00")
		}
	default:
		if sec.Vals == nil {
			sec.Vals = make(map[string]string)
		}
		sec.Vals[key] = value
	}
}

// Unset removes a key.
func (sec *Section) Unset(key string) {
	switch key {
	case "description":
		sec.Desc = ""
	case "env":
		sec.Env = nil
	default:
		delete(sec.Vals, key)
	}
}

// Keys are all that are set, sorted.
func (sec *Section) Keys() []string {
	keys := slices.Sorted(maps.Keys(sec.Vals))
	if sec.Desc != "" {
		keys = append(keys, "description")
	}
	if len(sec.Env) > 0 {
		keys = append(keys, "env")
	}
	sort.Strings(keys)
	return keys
}

// Clone is a copy of a section.
func (sec *Section) Clone() *Section {
	c := &Section{Desc: sec.Desc, Vals: make(map[string]string, len(sec.Vals))}
	for k, v := range sec.Vals {
		c.Vals[k] = v
	}
	c.Env = append([]string(nil), sec.Env...)
	c.Raw = append([][2]string(nil), sec.Raw...)
	return c
}

// Num is a key's number; 0 when it is unset.
func (sec *Section) Num(key string) int {
	n, _ := strconv.Atoi(sec.Vals[key])
	return n
}

// Parse reads a config file; what it cannot read it leaves out, as PVE does.
func Parse(text string) *Config {
	c := New()
	sec := &c.Section
	var desc []string
	flush := func() { sec.Desc = strings.TrimRight(strings.Join(desc, "\n"), "\n"); desc = nil }
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "#qmdump#"):
		case line[0] == '#':
			desc = append(desc, DecodeText(line[1:]))
		case line[0] == '[':
			flush()
			name := strings.Trim(strings.TrimSpace(line), "[]")
			if strings.EqualFold(name, "pve:pending") {
				sec = &c.Pending
			} else {
				s := NewSection()
				sec = &s
				c.Snaps[name] = sec
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
				sec.Env = append(sec.Env, v)
			case strings.HasPrefix(k, "lxc."):
				sec.Raw = append(sec.Raw, [2]string{k, v})
			case k == "delete" && sec == &c.Pending:
				sec.Del = notation.SplitList(v)
			case k == "snapstate" || k == "snaptime" || k == "parent" || k == "digest" || schema.Config.Find(k) != nil || schema.Machine.Find(k) != nil:
				sec.Set(k, v)
			}
		}
	}
	flush()
	return c
}

// EncodeText escapes one line of a description. PVE: ParseUtils encode_text.
func EncodeText(b *strings.Builder, line string) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c < 0x20 || c > 0x7e || c == '%' || c == ':' {
			fmt.Fprintf(b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
}

// DecodeText reads a line of a description: %XX is a byte.
func DecodeText(line string) string {
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
