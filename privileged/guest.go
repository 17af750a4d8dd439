package privileged

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

const pct = "/usr/sbin/pct"

// guestConfig is the part of a container's configuration file that the fence looks at.
type guestConfig struct {
	description string
	current     map[string]string // the section at the top
	pending     map[string]string // what waits for the guest to stop
}

// parseGuest reads /etc/pve/nodes/NODE/lxc/VMID.conf. PVE writes the description as `#` lines, percent-encoded (PVE: AbstractConfig, ParseUtils).
func parseGuest(data []byte) guestConfig {
	c := guestConfig{current: map[string]string{}, pending: map[string]string{}}
	into := c.current
	top := true
	var description []string
	for _, line := range strings.Split(string(data), "\n") {
		switch {
		case strings.HasPrefix(line, "["):
			top = false
			into = map[string]string{}
			if strings.HasPrefix(line, "[pve:pending]") {
				into = c.pending
			}
		case strings.HasPrefix(line, "#"):
			if top {
				description = append(description, unescapePercent(line[1:]))
			}
		default:
			if key, value, ok := strings.Cut(line, ":"); ok {
				into[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
	}
	c.description = strings.Join(description, "\n")
	return c
}

func unescapePercent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var (
	markerComment = regexp.MustCompile(`<!--\s*felhom-agent/1 (\S+) vmid=([0-9]+) owner=(\S+)( [^\n]*?)?\s*-->`)
	markerStart   = regexp.MustCompile(`felhom-agent/[0-9]+ `)
)

// bears says why a description does not say that the guest is this object of this owner under this VMID; nothing when it does.
func bears(description, object, vmid, owner string) string {
	found := markerComment.FindAllStringSubmatch(description, -1)
	starts := len(markerStart.FindAllString(description, -1))
	switch {
	case starts == 0:
		return "its ownership marker is missing"
	case starts > 1:
		return "it has more than one ownership marker"
	case len(found) != 1:
		return "its marker cannot be read"
	}
	if m := found[0]; m[1] != object || m[2] != vmid || m[3] != owner {
		return fmt.Sprintf("its marker names %s as %s of %s", m[1], m[2], m[3])
	}
	return ""
}

// ours reads the guest's configuration and makes sure that it is ours.
func (s *scene) ours() (guestConfig, error) {
	data, err := s.read(fmt.Sprintf("/etc/pve/nodes/%s/lxc/%s.conf", s.node, s.args["vmid"]))
	if err != nil {
		return guestConfig{}, err
	}
	if data == nil {
		return guestConfig{}, s.refuse("vmid", "there is no such container on "+s.node, "")
	}
	c := parseGuest(data)
	if why := bears(c.description, s.args["object"], s.args["vmid"], s.args["owner"]); why != "" {
		return guestConfig{}, s.refuse("vmid", "this container is not "+s.args["object"]+" of "+s.args["owner"]+": "+why, "The root helper changes only managed containers")
	}
	return c, nil
}

// value is a key's value now, and the one that waits for the guest to stop; a waiting delete is no value.
func (c guestConfig) value(key string) (now, waiting string) { return c.current[key], c.pending[key] }

func (s *scene) createGolden() error {
	vmid := s.args["vmid"]
	if why := bears(s.args["description"], s.args["object"], vmid, s.args["owner"]); why != "" {
		return s.refuse("description", "the new container would have no ownership marker: "+why, "")
	}
	for _, kind := range []string{"lxc", "qemu-server"} {
		data, err := s.read(fmt.Sprintf("/etc/pve/nodes/%s/%s/%s.conf", s.node, kind, vmid))
		if err != nil {
			return err
		}
		if data != nil {
			return s.refuse("vmid", "a guest with this number exists", "Choose another one")
		}
	}
	node, err := s.guestNode(vmid)
	if err != nil {
		return err
	}
	if node != "" {
		return s.refuse("vmid", "a guest with this number exists on "+node, "Choose another one")
	}
	argv, err := createArgv(s.args)
	if err != nil {
		return s.refuse("config", err.Error(), "")
	}
	_, err = s.run(pct, argv...)
	return err
}

// guestNode looks a VMID up in the cluster's own list of guests, where there is one (pmxcfs keeps it in /etc/pve/.vmlist).
func (s *scene) guestNode(vmid string) (string, error) {
	data, err := s.read("/etc/pve/.vmlist")
	if err != nil || data == nil {
		return "", err
	}
	var list struct {
		IDs map[string]struct{ Node string } `json:"ids"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return "", &FailedError{Op: s.op, Reason: "cannot read the cluster's list of guests: " + err.Error()}
	}
	if g, ok := list.IDs[vmid]; ok {
		if g.Node == "" {
			return "another node", nil
		}
		return g.Node, nil
	}
	return "", nil
}

// createArgv prints the arguments of `pct create`.
func createArgv(a map[string]string) ([]string, error) {
	argv := []string{"create", a["vmid"], a["template"], "--hostname", a["hostname"], "--rootfs", a["storage"] + ":" + a["size"], "--unprivileged", "1"}
	if features := properties("", subkeys(a, "features.")); features != "" {
		argv = append(argv, "--features", features)
	}
	for n := range 256 {
		if net := subkeys(a, fmt.Sprintf("net%d.", n)); len(net) > 0 {
			name := net["name"]
			if name == "" {
				name = fmt.Sprintf("eth%d", n)
			}
			delete(net, "name")
			argv = append(argv, fmt.Sprintf("--net%d", n), properties("name="+name, net))
		}
		if mp := subkeys(a, fmt.Sprintf("mp%d.", n)); len(mp) > 0 {
			if mp["storage"] == "" || mp["size"] == "" || mp["mp"] == "" {
				return nil, fmt.Errorf("mp%d needs storage, size and mp", n)
			}
			first := fmt.Sprintf("%s:%s,mp=%s", mp["storage"], mp["size"], mp["mp"])
			delete(mp, "storage")
			delete(mp, "size")
			delete(mp, "mp")
			argv = append(argv, fmt.Sprintf("--mp%d", n), properties(first, mp))
		}
	}
	config := subkeys(a, "config.")
	for _, key := range sortedKeys(config) {
		argv = append(argv, "--"+key, config[key])
	}
	return append(argv, "--description="+a["description"]), nil // one word: the text may begin with a dash
}

// subkeys are the arguments whose names begin with prefix, without it.
func subkeys(a map[string]string, prefix string) map[string]string {
	m := map[string]string{}
	for k, v := range a {
		if key, ok := strings.CutPrefix(k, prefix); ok {
			m[key] = v
		}
	}
	return m
}

// properties prints a property string: what comes first, then the rest sorted by key, as PVE prints them.
func properties(first string, rest map[string]string) string {
	var parts []string
	if first != "" {
		parts = append(parts, first)
	}
	for _, key := range sortedKeys(rest) {
		parts = append(parts, key+"="+rest[key])
	}
	return strings.Join(parts, ",")
}

// isBind says whether the value of an mpN is a bind mount: a path, but not one of a device.
func isBind(value string) bool {
	return strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "/dev/")
}

// source is the first part of a property string, with or without its default key.
func source(value, key string) string {
	for _, part := range strings.Split(value, ",") {
		if v, ok := strings.CutPrefix(part, key+"="); ok {
			return v
		}
	}
	first, _, _ := strings.Cut(value, ",")
	return first
}

func (s *scene) unbind() error {
	a := s.args
	c, err := s.ours()
	if err != nil {
		return err
	}
	key := "mp" + a["index"]
	now, waiting := c.value(key)
	if now == "" {
		now = waiting
	}
	switch have := source(now, "volume"); {
	case now == "":
		return nil // it is gone already
	case !isBind(have):
		return s.refuse("index", fmt.Sprintf("%s of %s is a volume (%s)", key, a["vmid"], have), "The root helper removes only bind mounts")
	case have != a["source"]:
		return s.refuse("source", fmt.Sprintf("%s of %s binds %s", key, a["vmid"], have), "Look again")
	}
	_, err = s.run(pct, "set", a["vmid"], "--delete", key)
	return err
}

func (s *scene) passDevice() error {
	a := s.args
	if _, err := s.ours(); err != nil {
		return err
	}
	if err := s.allowedDevice("path"); err != nil {
		return err
	}
	mode, err := s.host.Stat(a["path"])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.miss("path", "there is no such device", "Plug it in, or load its driver")
	case err != nil:
		return s.refuse("path", err.Error(), "")
	case mode&fs.ModeCharDevice == 0:
		return s.refuse("path", "it is not a character device", "")
	}
	rest := map[string]string{}
	for _, key := range []string{"mode", "uid", "gid", "deny-write"} {
		if a[key] != "" {
			rest[key] = a[key]
		}
	}
	_, err = s.run(pct, "set", a["vmid"], "--dev"+a["index"], properties(a["path"], rest))
	return err
}

func (s *scene) removeDevice() error {
	a := s.args
	c, err := s.ours()
	if err != nil {
		return err
	}
	key := "dev" + a["index"]
	now, waiting := c.value(key)
	if now == "" {
		now = waiting
	}
	if now == "" {
		return nil // it is gone already
	}
	if have := source(now, "path"); have != a["path"] {
		return s.refuse("path", fmt.Sprintf("%s of %s is %s", key, a["vmid"], have), "Look again")
	}
	_, err = s.run(pct, "set", a["vmid"], "--delete", key)
	return err
}

// quote puts a path into single quotes where a shell would need them.
func quote(p string) string {
	if regexp.MustCompile(`\A[A-Za-z0-9/._+@-]+\z`).MatchString(p) {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}
