package export

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// An Export is the guests of a node as a desired state that takes them over as
// they are.
type Export struct {
	Text   string   // YAML, with the date and what needs an eye in its head
	Guests int      // that are declared in it
	Unseen []string // what the token could not see, with the fix; empty: it is complete
	// Missing are the guests that could not be declared, with the reason and the fix: they
	// stand at the top of Text and as comments below.
	Missing []string
}

// ExportNode writes the containers and VMs of a node as YAML and proves it: the plan of the
// YAML on this node holds nothing but adoptions, and would be empty after them. Like a
// plan it can only read.
func ExportNode(ctx context.Context, source refresh.Source, journal *journal.Journal) (*Export, error) {
	source.Only, source.Stored, source.Watching, source.AllVMs = nil, state.Stored{}, false, true
	x := &Exporter{Source: source}
	if err := x.Read(ctx); err != nil {
		return nil, err
	}
	x.Choose()
	for {
		s := x.Text("")
		if x.count() == 0 {
			return &Export{Text: s, Unseen: x.unseen, Missing: x.missing()}, nil
		}
		want, again, err := x.load(s)
		if err != nil {
			return nil, err
		}
		if again {
			continue
		}
		have, err := source.Reader(want, journal, nil).Read(ctx)
		if err != nil {
			return nil, err
		}
		if x.setAside(x.Differs(want, have)) { // what would be more than an adoption is left out, and the rest proven again
			continue
		}
		proof := fmt.Sprintf("Proven: on %s the plan of this file adopts %s, changes nothing else, and is empty after that.", source.Node, text.Count(x.count(), "guest", "guests"))
		return &Export{Text: x.Text(proof), Guests: x.count(), Unseen: x.unseen, Missing: x.missing()}, nil
	}
}

// setAside leaves out the guests of which a plan would do more than adopt them, with the
// reasons, and reports whether there were any.
func (x *Exporter) setAside(differs map[string][]string) bool {
	found := false
	for _, e := range x.guests {
		if reasons := differs[e.name]; len(reasons) > 0 && e.aside == "" {
			e.aside, e.blocked, found = strings.Join(reasons, "; "), true, true
		}
	}
	if found {
		x.inspectAll()
	}
	return found
}

// missing lists the guests that are left out and should not be.
func (x *Exporter) missing() []string {
	var all []string
	for _, e := range x.guests {
		if e.blocked {
			all = append(all, fmt.Sprintf("%d %s: %s", e.state.VMID, e.name, e.aside))
		}
	}
	return all
}

// Exporter is what an export has seen and decided.
type Exporter struct {
	Source   refresh.Source
	have     *node.Observed // the lists; its guests have their whole config
	cluster  bool
	guests   []*exported
	unseen   []string
	asked    int      // numbers of which PVE said whether they are free
	eye      []string // what needs an eye, of the guests
	stray    []string // what needs an eye, of other things
	refused  map[proxmox.VMID]map[string]string
	archives map[proxmox.VMID][]proxmox.StorageContent // newest first
}

// exported is one guest of an export.
type exported struct {
	name    string
	state   *node.GuestState
	aside   string // why it is a comment only
	blocked bool   // it is left out although it should be there
	tagHeld bool
}

// Look reads all guests with their configs, and where backups of them lie.
func (x *Exporter) Read(ctx context.Context) error {
	view, n := x.Source.View, x.Source.Node
	none := &spec.Desired{}
	var err error
	if x.have, err = x.Source.Reader(none, journal.MemoryJournal(), nil).Read(ctx); err != nil {
		return err
	}
	have := x.have
	keep := func(err error, place *error, found func()) error {
		if err == nil {
			found()
			return nil
		}
		if !refresh.OfOneThing(err) {
			return err
		}
		*place = err
		return nil
	}
	g, gctx := refresh.NewReads(ctx)
	for vmid, state := range have.Guests {
		g.Go(func() error {
			config, err := view.Of(state.Type, n, vmid).Config(gctx)
			return keep(err, &state.Err, func() { state.Config = &config })
		})
	}
	for id, state := range have.Storages {
		if state.Conf.Disabled || state.Status == nil || !state.Status.Active || !node.HoldsGuestData(state.Conf) {
			continue
		}
		state.Read = true
		g.Go(func() error {
			content, err := view.StorageContent(gctx, n, id, proxmox.ContentFilter{})
			return keep(err, &state.Err, func() { state.Content = content })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	have.ByID = nil
	have.Index(nil)
	for _, r := range have.Others {
		x.cluster = x.cluster || r.Node != n
	}
	return x.readHidden(ctx)
}

// Choose names the guests and says what needs an eye.
func (x *Exporter) Choose() {
	x.archives, x.refused = map[proxmox.VMID][]proxmox.StorageContent{}, map[proxmox.VMID]map[string]string{}
	taken := map[string]bool{}
	hostnames := map[string]int{}
	for _, state := range x.have.Guests {
		if state.Config != nil {
			hostnames[strings.ToLower(state.Config.Hostname())]++
		}
	}
	for _, vmid := range text.Keys(x.have.Guests) {
		state := x.have.Guests[vmid]
		for id := range x.have.Storages {
			x.archives[vmid] = append(x.archives[vmid], node.ArchivesOf(x.have, id, vmid, state.Type)...)
		}
		node.NewestFirst(x.archives[vmid])
		if state.Config == nil {
			x.unseen = append(x.unseen, fmt.Sprintf("guest %d (%s): %v. %s", vmid, state.Name, state.Err, text.Sentence(strings.Join(questions.FixOf(state.Err, fmt.Sprintf("see: %s config %d", state.Type.Tool(), vmid)), "; "))))
			continue
		}
		e := &exported{state: state, name: state.Config.Hostname(), tagHeld: slices.Contains(state.Tags, questions.HoldTag)}
		if proxmox.CheckHostname(e.name) != nil || e.name == "all" || hostnames[strings.ToLower(e.name)] > 1 || taken[e.name] {
			e.name = fmt.Sprintf("ct-%d", vmid)
			if state.Type.VM() {
				e.name = fmt.Sprintf("vm-%d", vmid)
			}
			if base := strings.ToLower(state.Config.Hostname()); proxmox.CheckHostname(base) == nil {
				e.name = fmt.Sprintf("%s-%d", base, vmid)
			}
		}
		taken[e.name] = true
		e.aside, e.blocked = x.aside(state)
		for _, c := range node.Standing(state) { // declared, it would be blocked
			for _, key := range []string{c.Key, c.Other} {
				x.refuseKey(vmid, key, fmt.Sprintf("%s and %s both have the %s", c.Other, c.Key, c.Claim))
			}
		}
		x.guests = append(x.guests, e)
	}
	x.inspectAll()
}

// aside says why a guest is not declared, or "", and whether something blocks that.
func (x *Exporter) aside(state *node.GuestState) (why string, blocked bool) {
	config := state.Config
	markers := marker.FindMarkers(config.Description())
	if t := x.have.Task(state.VMID, proxmox.TasksOf("create", "restore", "destroy", "rollback", "migrate", "clone")...); t != nil {
		return fmt.Sprintf("%s runs since %s, by %s. fix: wait for it", t.Type, x.have.Clock(t.StartTime), t.Owner()), true
	}
	switch {
	case config.Template():
		return "a template: it never runs, and is not adopted", false
	case len(markers) == 1 && markers[0].Owner == x.have.Owner && markers[0].VMID == state.VMID:
		return fmt.Sprintf("managed already, as the object %s; it is not compared with its YAML here: felhom-agent --plan", markers[0].Object), false
	case len(markers) > 0:
		return fmt.Sprintf("it has the ownership marker %q: another agent's, or a copy. fix: remove that from its Notes to adopt it", markers[0].String()), true
	case config.Hostname() == "":
		if state.Type.VM() {
			return fmt.Sprintf("it has no name, by which a mistyped number is noticed. fix: qm set %d --name NAME", state.VMID), true
		}
		return fmt.Sprintf("it has no hostname, by which a mistyped number is noticed. fix: pct set %d --hostname NAME", state.VMID), true
	}
	if key, err := node.Unreadable(config); err != nil {
		return fmt.Sprintf("%s of %d is not understood: %v. fix: %s config %d", key, state.VMID, err, state.Type.Tool(), state.VMID), true
	}
	return "", false
}

// count is how many guests are declared.
func (x *Exporter) count() int {
	n := 0
	for _, e := range x.guests {
		if e.aside == "" {
			n++
		}
	}
	return n
}
