package privileged

import (
	"fmt"
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
		return "its ownership marker cannot be read"
	}
	if m := found[0]; m[1] != object || m[2] != vmid || m[3] != owner {
		return fmt.Sprintf("its ownership marker names %s as %s of %s", m[1], m[2], m[3])
	}
	return ""
}

// managed reads the guest's configuration and makes sure that it is managed by the sender.
func (r reader) managed() (guestConfig, error) {
	data, err := r.read(fmt.Sprintf("/etc/pve/nodes/%s/lxc/%s.conf", r.node, r.args["vmid"]))
	if err != nil {
		return guestConfig{}, err
	}
	if data == nil {
		return guestConfig{}, r.refuse("vmid", "there is no such container on "+r.node, "")
	}
	c := parseGuest(data)
	if why := bears(c.description, r.args["object"], r.args["vmid"], r.args["owner"]); why != "" {
		return guestConfig{}, r.refuse("vmid", "this container is not "+r.args["object"]+" of "+r.args["owner"]+": "+why, "The root helper changes only managed containers")
	}
	return c, nil
}

// value is a key's value now, and the one that waits for the guest to stop; a waiting delete is no value.
func (c guestConfig) value(key string) (now, waiting string) { return c.current[key], c.pending[key] }

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

// quote puts a path into single quotes where a shell would need them.
func quote(p string) string {
	if regexp.MustCompile(`\A[A-Za-z0-9/._+@-]+\z`).MatchString(p) {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}
