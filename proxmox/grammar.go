package proxmox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// A grammar says how a kind of property string is written.
type grammar struct {
	what       string // for errors
	defaultKey string
	required   []string
	booleans   []string
	example    string
}

var (
	netGrammar = grammar{
		what: "network interface", required: []string{"name"},
		booleans: []string{"firewall", "host-managed", "link_down"},
		example:  "name=eth0,bridge=vmbr0,ip=dhcp",
	}
	mountGrammar = grammar{
		what: "mount point", defaultKey: "volume", required: []string{"mp"},
		booleans: []string{"acl", "backup", "keepattrs", "quota", "replicate", "ro", "shared"},
		example:  "local-lvm:vm-111-disk-1,mp=/data,backup=1",
	}
	featuresGrammar = grammar{
		what:     "list of features",
		booleans: []string{"force_rw_sys", "fuse", "keyctl", "mknod", "nesting"},
		example:  "keyctl=1,nesting=1",
	}
	startupGrammar = grammar{
		what: "startup order", defaultKey: "order",
		example: "order=3,up=30",
	}
	deviceGrammar = grammar{
		what: "device", defaultKey: "path", booleans: []string{"deny-write"},
		example: "/dev/dri/renderD128,gid=104",
	}
)

// parse takes a property string apart. Beside an error it returns what could
// be read, for callers that must not overlook a thing only because it is
// written oddly.
func (g grammar) parse(s string) (map[string]string, error) {
	m := make(map[string]string, strings.Count(s, ",")+1)
	var errs []error
	for part, rest, more := "", s, true; more; {
		part, rest, more = strings.Cut(rest, ",")
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, value, wrong := g.parsePart(part)
		if _, twice := m[key]; twice && key != "" {
			key, wrong = "", key+" appears twice, keep one"
		}
		if wrong != "" {
			errs = append(errs, g.fault(s, wrong))
		}
		if key != "" {
			m[key] = value
		}
	}
	if len(m) == 0 && len(errs) == 0 {
		return m, g.fault(s, "it is empty, expected for example "+g.example)
	}
	return m, errors.Join(errs...)
}

// check is the error of parse, which costs little where there is none.
func (g grammar) check(s string) error {
	var keys [8]string
	n := 0
	for part, rest, more := "", s, true; more; {
		part, rest, more = strings.Cut(rest, ",")
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, _, wrong := g.parsePart(part)
		if n == len(keys) || wrong != "" || slices.Contains(keys[:n], key) {
			_, err := g.parse(s)
			return err
		}
		keys[n] = key
		n++
	}
	if n == 0 {
		_, err := g.parse(s)
		return err
	}
	return nil
}

// says reports whether a part of a property string is key=value.
func (g grammar) says(s, key, value string) bool {
	for part := range strings.SplitSeq(s, ",") {
		if len(part) == len(key)+1+len(value) && part[len(key)] == '=' && strings.HasPrefix(part, key) && strings.HasSuffix(part, value) {
			return true
		}
	}
	return false
}

func (g grammar) fault(s, wrong string) error {
	return fmt.Errorf("invalid %s %q: %s", g.what, s, wrong)
}

// parsePart takes one setting apart, and says what is wrong with it. What cannot be read has no key.
func (g grammar) parsePart(part string) (key, value, wrong string) {
	if strings.ContainsFunc(part, unicode.IsControl) {
		return "", "", fmt.Sprintf("%q has a line break or another control character, remove it", part)
	}
	key, value, found := strings.Cut(part, "=")
	switch {
	case !found && g.defaultKey == "":
		return "", "", fmt.Sprintf("%q has no key, expected for example %s", part, g.example)
	case !found:
		key, value = g.defaultKey, part
	case key == "" || value == "":
		return "", "", fmt.Sprintf("%q lacks its key or its value, expected for example %s", part, g.example)
	case !isSubkey(key):
		return "", "", fmt.Sprintf("invalid key %q (without spaces), expected for example %s", key, g.example)
	}
	if slices.Contains(g.booleans, key) {
		b, ok := parseBool(value)
		if !ok {
			return key, value, fmt.Sprintf("%s=%s is neither yes nor no, expected %s=1 or %s=0", key, value, key, key)
		}
		value = b
	}
	return key, value, ""
}

// isSubkey reports whether a word can be a sub-key: letters, digits, _ and -.
func isSubkey(key string) bool {
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

func parseBool(s string) (string, bool) {
	switch strings.ToLower(s) {
	case "1", "on", "yes", "true":
		return "1", true
	case "0", "off", "no", "false":
		return "0", true
	}
	return s, false
}

func (g grammar) print(m map[string]string) string {
	rank := func(key string) int {
		switch {
		case key == g.defaultKey:
			return 0
		case slices.Contains(g.required, key):
			return 1
		}
		return 2
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		// A default value with "=" in it would be taken for another key, a blank
		// one for nothing.
		if key != g.defaultKey || strings.Contains(m[key], "=") || strings.TrimSpace(m[key]) == "" {
			b.WriteString(key)
			b.WriteByte('=')
		}
		b.WriteString(m[key])
	}
	return b.String()
}

// whole is a property string that could be read without an error, else nil.
func whole[M ~map[string]string](m map[string]string, err error) (M, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
