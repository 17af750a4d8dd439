package proxmox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// GuestConfig is a guest's config: PVE's own strings by key, and accessors
// that understand them. Keys that this package does not know stay in Raw.
type GuestConfig struct {
	VMID VMID
	Type GuestType
	// Digest changes with every change of the config, its snapshots and pending
	// changes included. Sent along with a change it guards against overwriting
	// somebody else's. Empty for the config inside an archive.
	Digest string
	Raw    map[string]string
	// Pending are values that take effect at the next start, Deleted the keys
	// that go then; both only as of GuestPending.
	Pending map[string]string
	Deleted []string
	// LXC are raw lxc.* lines, in order.
	LXC [][2]string
}

// GuestConfig asks for a container's config; see [GuestView.Config].
func (v *View) GuestConfig(ctx context.Context, node string, vmid VMID) (GuestConfig, error) {
	return v.Of(LXC, node, vmid).Config(ctx)
}

// SnapshotConfig asks for that of a container; see [GuestView.SnapshotConfig].
func (v *View) SnapshotConfig(ctx context.Context, node string, vmid VMID, name string) (GuestConfig, error) {
	return v.Of(LXC, node, vmid).SnapshotConfig(ctx, name)
}

// Config asks for the config as it will be after a restart: with pending
// changes merged in. Needs VM.Audit.
func (g GuestView) Config(ctx context.Context) (GuestConfig, error) { return g.config(ctx, nil) }

// SnapshotConfig asks for the config that a rollback to the snapshot would
// bring back, with the digest of the whole.
func (g GuestView) SnapshotConfig(ctx context.Context, name string) (GuestConfig, error) {
	return g.config(ctx, Params{"snapshot": name})
}

func (g GuestView) config(ctx context.Context, params Params) (GuestConfig, error) {
	w, r, err := read[map[string]json.RawMessage](ctx, g.view, g.path("config"), params)
	if err != nil {
		return GuestConfig{}, err
	}
	c := GuestConfig{VMID: g.vmid, Type: g.kind, Raw: make(map[string]string, len(w))}
	for key, raw := range w {
		if key == "lxc" {
			if c.LXC, err = rawLines(raw); err != nil {
				return GuestConfig{}, r.fault("lxc: %v", err)
			}
			continue
		}
		value, err := scalar(raw)
		switch {
		case err == nil:
			c.Raw[key] = value
		case slices.Contains(knownKeys, key) || isNumbered(key):
			return GuestConfig{}, r.fault("%s: %v", key, err)
		default:
			c.Raw[key] = string(raw) // nested settings of a later version
		}
	}
	c.Digest = c.Raw["digest"]
	delete(c.Raw, "digest")
	if c.Digest == "" && params == nil {
		return GuestConfig{}, r.fault("it has no digest")
	}
	return c, nil
}

func rawLines(raw json.RawMessage) ([][2]string, error) {
	var pairs [][]text
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, err
	}
	var lines [][2]string
	for _, pair := range pairs {
		if len(pair) != 2 {
			return nil, fmt.Errorf("expected a key and a value, got %d values", len(pair))
		}
		lines = append(lines, [2]string{string(pair[0]), string(pair[1])})
	}
	return lines, nil
}

// GuestPending asks for that of a container; see [GuestView.Pending].
func (v *View) GuestPending(ctx context.Context, node string, vmid VMID) (GuestConfig, error) {
	return v.Of(LXC, node, vmid).Pending(ctx)
}

// Pending asks for the config in force together with what is pending and
// the digest, all in one request. Raw lxc.* lines are not in it. Needs
// VM.Audit.
func (g GuestView) Pending(ctx context.Context) (GuestConfig, error) {
	type entry struct {
		Key            text
		Value, Pending *text
		Delete         number
	}
	w, r, err := read[[]entry](ctx, g.view, g.path("pending"), nil)
	if err != nil {
		return GuestConfig{}, err
	}
	ambiguous := ""
	w = distinct(slices.Clone(w), func(e entry) text { return e.Key }, func(first *entry, later entry) {
		if differ(*first, later) {
			ambiguous = string(first.Key)
		}
	})
	if ambiguous != "" {
		return GuestConfig{}, r.fault("it names the key %s twice, with different values", ambiguous)
	}
	c := GuestConfig{VMID: g.vmid, Type: g.kind, Raw: make(map[string]string, len(w))}
	for _, e := range w {
		key := string(e.Key)
		switch {
		case key == "":
			return GuestConfig{}, r.fault("an entry has no key")
		case key == "digest":
			if e.Value != nil {
				c.Digest = string(*e.Value)
			}
			continue
		}
		if e.Value != nil {
			c.Raw[key] = string(*e.Value)
		}
		if e.Pending != nil {
			if c.Pending == nil {
				c.Pending = map[string]string{}
			}
			c.Pending[key] = string(*e.Pending)
		}
		if e.Delete != 0 {
			c.Deleted = append(c.Deleted, key)
		}
	}
	slices.Sort(c.Deleted)
	if c.Digest == "" {
		return GuestConfig{}, r.fault("it has no digest")
	}
	return c, nil
}

// parseConfigText reads the text of a config file, up to its first section
// (PVE: LXC/Config, parse_pct_config). Lines that are none are skipped, as PVE
// does.
func parseConfigText(content string) GuestConfig {
	c := GuestConfig{Raw: map[string]string{}}
	var description strings.Builder
	described := false
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "[") {
			break
		}
		if strings.HasPrefix(line, "#qmdump#") { // where vzdump has put the drives of a virtual machine: no text of people
			continue
		}
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			description.WriteString(decodeText(comment) + "\n")
			described = true
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok && strings.HasPrefix(line, "lxc.") {
			key, value, ok = strings.Cut(line, "=")
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok || key == "":
		case strings.HasPrefix(key, "lxc."):
			c.LXC = append(c.LXC, [2]string{key, value})
		case key == "description":
			description.WriteString(value + "\n")
			described = true
		default:
			c.Raw[key] = value
		}
	}
	if described {
		c.Raw["description"] = description.String()
	}
	return c
}

var escapeForm = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// decodeText reads a line of a description, in which PVE escapes what is not
// printable ASCII, and people not even a percent sign.
func decodeText(line string) string {
	return escapeForm.ReplaceAllStringFunc(line, func(escape string) string {
		b, _ := strconv.ParseUint(escape[1:], 16, 8)
		return string([]byte{byte(b)})
	})
}

// Merged is the config as it will be after a restart.
func (c GuestConfig) Merged() GuestConfig {
	c.Raw = maps.Clone(c.Raw)
	maps.Copy(c.Raw, c.Pending)
	for _, key := range c.Deleted {
		delete(c.Raw, key)
	}
	c.Pending, c.Deleted = nil, nil
	return c
}

// Hostname is the guest's name; "" if none is set. That of a virtual machine is known to PVE
// alone.
func (c GuestConfig) Hostname() string {
	if c.Type.VM() {
		return c.Raw["name"]
	}
	return c.Raw["hostname"]
}

// Description is the text without the newline that PVE puts at its end.
func (c GuestConfig) Description() string { return CanonicalDescription(c.Raw["description"]) }

// Lock is the word of the lock, or "".
func (c GuestConfig) Lock() string { return c.Raw["lock"] }

// Parent is the snapshot that the current state stems from, or "".
func (c GuestConfig) Parent() string { return c.Raw["parent"] }

// Tags are sorted and in lower case.
func (c GuestConfig) Tags() []string { return ParseTags(c.Raw["tags"]) }

// MemoryMiB is the limit of memory; PVE's default is 512.
func (c GuestConfig) MemoryMiB() int64 {
	if n, err := strconv.ParseInt(strings.TrimPrefix(c.Raw["memory"], "current="), 10, 64); err == nil {
		return n
	}
	return 512
}

func (c GuestConfig) flag(key string) bool {
	v, _ := parseBool(c.Raw[key])
	return v == "1"
}

// Unprivileged tells that root in the guest is nobody on the host.
func (c GuestConfig) Unprivileged() bool { return c.flag("unprivileged") }

// Template tells that the guest is a template and cannot be started.
func (c GuestConfig) Template() bool { return c.flag("template") }

// Protection tells that PVE refuses to remove the guest and its disks.
func (c GuestConfig) Protection() bool { return c.flag("protection") }

// OnBoot tells that the guest starts with the node.
func (c GuestConfig) OnBoot() bool { return c.flag("onboot") }

// isNumbered reports whether a key is one of a row, such as net0.
func isNumbered(key string) bool {
	for _, prefix := range []string{"net", "mp", "dev", "unused"} {
		if _, ok := NumberedKey(key, prefix); ok {
			return true
		}
	}
	return false
}

// NumberedKey is the number of a key such as net0, where it has that prefix: digits
// without a leading zero.
func NumberedKey(key, prefix string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(key, prefix)
	if !ok || digits == "" || len(digits) > 9 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = 10*n + int(digits[i]-'0')
	}
	return n, true
}

// numbered calls f for each value of a key like netN.
func (c GuestConfig) numbered(prefix string, f func(n int, value string)) {
	for key, value := range c.Raw {
		if n, ok := NumberedKey(key, prefix); ok {
			f(n, value)
		}
	}
}

// Nets are the network interfaces by number. A value that PVE itself could not
// have written is there as far as it can be read: never missing.
func (c GuestConfig) Nets() map[int]Net {
	nets := map[int]Net{}
	c.numbered("net", func(n int, value string) { m, _ := netGrammar.parse(value); nets[n] = unifyNet(m) })
	return nets
}

// MountPoints are the mpN by number, without the rootfs.
func (c GuestConfig) MountPoints() map[int]MountPoint {
	mounts := map[int]MountPoint{}
	c.numbered("mp", func(n int, value string) { mounts[n], _ = parseMount(value) })
	return mounts
}

// Devices are the devN by number.
func (c GuestConfig) Devices() map[int]Device {
	devices := map[int]Device{}
	c.numbered("dev", func(n int, value string) { devices[n], _ = deviceGrammar.parse(value) })
	return devices
}

// Unused are the volumes that belong to the guest and are not mounted, by
// number. Deleting such a key deletes the data.
func (c GuestConfig) Unused() map[int]string {
	unused := map[int]string{}
	c.numbered("unused", func(n int, value string) { unused[n] = value })
	return unused
}

// RootFS is the root volume.
func (c GuestConfig) RootFS() (MountPoint, bool) {
	value, ok := c.Raw["rootfs"]
	if !ok {
		return nil, false
	}
	m, _ := parseMount(value)
	return m, true
}

// Features are the flags that are set; nil without any.
func (c GuestConfig) Features() Features {
	value, ok := c.Raw["features"]
	if !ok {
		return nil
	}
	m, _ := featuresGrammar.parse(value)
	return m
}

// Startup is when the guest starts; nil if nothing is said.
func (c GuestConfig) Startup() Startup {
	value, ok := c.Raw["startup"]
	if !ok {
		return nil
	}
	m, _ := startupGrammar.parse(value)
	return m
}

var knownKeys = strings.Fields(`arch cmode console cores cpulimit cpuunits debug description
	entrypoint env features hookscript hostname lock memory nameserver onboot ostype parent
	protection rootfs searchdomain snapstate snaptime startup swap tags template timezone tty
	unprivileged`)

// Extra are the keys of Raw that this package knows nothing about.
func (c GuestConfig) Extra() map[string]string {
	extra := map[string]string{}
	for key, value := range c.Raw {
		if !slices.Contains(knownKeys, key) && !isNumbered(key) {
			extra[key] = value
		}
	}
	return extra
}
