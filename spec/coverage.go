package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// coverage is which guests an object is for: all, those of a tag, or a list.
type coverage struct {
	all    bool
	tag    string
	guests []string
}

// covered reads all, tag:NAME, or a list of guests.
var covered = func() value[coverage] {
	all, some := oneOf("all"), names("list of guests", text)
	tagged := matching("tag:NAME", `^tag:[A-Za-z0-9_][A-Za-z0-9_.+-]*$`, "Write the word tag, a colon and one tag, such as tag:media.")
	return value[coverage]{
		name: "all, tag:NAME, or list of guests", schema: either(all.schema, tagged.schema, some.schema),
		read: func(a at, n *yaml.Node) (coverage, bool) {
			n = resolve(n)
			switch {
			case n.Kind != yaml.ScalarNode:
				guests, ok := some.read(a, n)
				return coverage{guests: guests}, ok
			case n.Value == "all":
				return coverage{all: true}, true
			case strings.HasPrefix(n.Value, "tag:"):
				name, ok := tagged.read(a, n)
				tag := proxmox.ParseTags(strings.TrimPrefix(name, "tag:"))
				return coverage{tag: strings.Join(tag, ";")}, ok && len(tag) == 1
			}
			a.fail("Write guests: all, tag:NAME, a list in brackets, or guest: "+n.Value+".", "needs all, tag:NAME or a list, this is %s", show(n))
			return coverage{}, false
		},
	}
}()

// tagged are the declared guests whose config has a tag in the YAML, by name.
func (d *Desired) tagged(tag string, except []string) []string {
	var found []string
	for _, g := range sorted(d.Restores, d.Guests) {
		if slices.Contains(g.Config.Tags, tag) && !slices.Contains(except, g.Ref.Name) {
			found = append(found, g.Ref.Name)
		}
	}
	slices.Sort(found)
	return found
}

// untagged says that a tag covers nobody.
func untagged(c *checker, o *Object, tag string) {
	c.fail(o, "guests", "Write tags: ["+tag+"] under config: of a guest. The tags of the web interface alone do not count.", "covers no guest: none is declared with the tag %s", tag)
}

// expand puts one snapshot object per guest, called NAME/GUEST, in the place of one that is for several.
func (d *Desired) expand() {
	for _, s := range sorted(d.Snapshots) {
		guests := s.Guests
		switch {
		case s.All:
			for _, g := range sorted(d.Restores, d.Guests) {
				guests = append(guests, g.Ref.Name)
			}
		case s.Tag != "":
			guests = d.tagged(s.Tag, nil)
		case len(guests) == 0:
			continue
		}
		guests = slices.DeleteFunc(slices.Clone(guests), func(name string) bool {
			g := d.Guest(name)
			return slices.Contains(s.Except, name) || g != nil && g.Absent && (s.All || s.Tag != "")
		})
		if len(guests) == 0 {
			continue // the check says so
		}
		delete(d.Snapshots, s.Ref.Name)
		for _, name := range guests {
			one := *s
			one.Guest, one.Ref.Name = name, s.Ref.Name+"/"+name
			if g := d.Guest(name); g != nil {
				one.guestWas = g.Was
			}
			d.Snapshots[one.Ref.Name] = &one
		}
	}
}
