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

func (c GuestConfig) clone() GuestConfig {
	c.Raw, c.Pending, c.Deleted, c.LXC = maps.Clone(c.Raw), maps.Clone(c.Pending), slices.Clone(c.Deleted), slices.Clone(c.LXC)
	return c
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
	c, err := readAs(ctx, g.view, g.path("config"), params, func(w map[string]json.RawMessage, r *reply) (GuestConfig, error) {
		return g.configOf(w, r, params == nil)
	})
	return c.clone(), err
}

// configOf makes a config of an answer. That of a snapshot may have no digest.
func (g GuestView) configOf(w map[string]json.RawMessage, r *reply, digest bool) (c GuestConfig, err error) {
	c = GuestConfig{VMID: g.vmid, Type: g.kind, Raw: make(map[string]string, len(w))}
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
	if c.Digest == "" && digest {
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
	c, err := readAs(ctx, g.view, g.path("pending"), nil, g.pendingOf)
	return c.clone(), err
}

type pendingWire struct {
	Key            text
	Value, Pending *text
	Delete         number
}

func (g GuestView) pendingOf(w []pendingWire, r *reply) (GuestConfig, error) {
	ambiguous := ""
	w = distinct(w, func(e pendingWire) text { return e.Key }, func(first *pendingWire, later pendingWire) {
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
