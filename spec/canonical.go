package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Canonical is the text of what the guest shall be: the size of its root disk,
// its configuration and its run state, in one order whatever the order of the
// YAML, without comments and places. What the agent alone reads (restart,
// needs, drift, …) and what matters at birth alone is not in it, so a change
// of that is no edit of the guest.
func (g *Guest) Canonical() string {
	var l lines
	if g.RootFS.Size != 0 {
		l.say("rootfs.size", g.RootFS.Size.String())
	}
	if g.State != "" {
		l.say("state", string(g.State))
	}
	l.config(&g.Config)
	return l.text()
}

// Canonical is the text of what the golden's archive shall be made of; see
// [Guest.Canonical]. The revision is not in it: it is compared by itself.
func (g *Golden) Canonical() string {
	if g.canonical != "" {
		return g.canonical
	}
	var l lines
	l.say("template", g.Template)
	l.say("rootfs.size", g.RootFS.Size.String())
	l.say("rootfs.storage", g.RootFS.Storage)
	l.all("features", g.Features)
	l.config(&g.Config)
	return l.text()
}

type lines []string

func (l *lines) say(key, value string) { *l = append(*l, key+"="+strconv.Quote(value)) }

func (l *lines) all(key string, m map[string]string) {
	if m == nil {
		return
	}
	if len(m) == 0 {
		l.say(key, "")
	}
	for sub, value := range m {
		l.say(key+"."+sub, value)
	}
}

func (l *lines) config(c *Config) {
	for key, value := range c.Values {
		l.say("config."+key, value)
	}
	if c.Description != nil {
		l.say("config.description", *c.Description)
	}
	if len(c.Tags) > 0 {
		l.say("config.tags", strings.Join(c.Tags, ";"))
	}
	l.all("config.startup", c.Startup)
	l.all("config.features", c.Features)
	for i, n := range c.Nets {
		l.all(fmt.Sprintf("config.net%d", i), n)
	}
	for key, size := range c.Drives {
		l.say("config."+key, size.String())
	}
	for i, d := range c.Devices {
		l.all(fmt.Sprintf("config.dev%d", i), d)
	}
	for _, i := range slices.Sorted(maps.Keys(c.Mounts)) {
		m, key := c.Mounts[i], fmt.Sprintf("config.mp%d.", i)
		for _, p := range [][2]string{{"storage", m.Storage}, {"volume", m.Volume}, {"mount", m.Mount}, {"folder", m.Folder}, {"host", m.Host}, {"mp", m.Path}} {
			if p[1] != "" {
				l.say(key+p[0], p[1])
			}
		}
		if m.Size != 0 {
			l.say(key+"size", m.Size.String())
		}
		l.say(key+"backup", strconv.FormatBool(m.Backup))
		l.say(key+"ro", strconv.FormatBool(m.ReadOnly))
		for option, value := range m.Options {
			l.say(key+option, value)
		}
	}
}

func (l lines) text() string {
	slices.Sort(l)
	return strings.Join(l, "\n") + "\n"
}
