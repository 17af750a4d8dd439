package export

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// An Export is the containers of a node as a desired state that takes them over as
// they are.
type Export struct {
	Text   string   // YAML, with the date and what needs an eye in its head
	Guests int      // that are declared in it
	Unseen []string // what the token could not see, with the cure; empty: it is complete
	// Differs is what a plan of Text would do on this node besides taking guests over.
	// Where it is not empty, Text is not to be used.
	Differs []string
}

// ExportNode writes the containers of a node as YAML and proves it: the plan of the
// YAML on this node holds nothing but adoptions, and would be empty after them. Like a
// plan it can only read.
func ExportNode(ctx context.Context, sight refresh.Sight, journal *journal.Journal) (*Export, error) {
	sight.Only, sight.Stored, sight.Watching = nil, state.Stored{}, false
	x := &Exporter{Sight: sight, refused: map[proxmox.VMID]map[string]string{}}
	if err := x.Look(ctx); err != nil {
		return nil, err
	}
	x.Choose()
	for {
		s := x.Text("")
		if x.count() == 0 {
			return &Export{Text: s, Unseen: x.unseen, Differs: x.busy}, nil
		}
		want, again, err := x.load(s)
		if err != nil {
			return nil, err
		}
		if again {
			continue
		}
		have, err := sight.Looker(want, journal, nil).Look(ctx)
		if err != nil {
			return nil, err
		}
		proof := fmt.Sprintf("Proven: on %s the plan of this file takes %s over, changes nothing else, and is empty after that.", sight.Node, text.Count(x.count(), "guest", "guests"))
		return &Export{Text: x.Text(proof), Guests: x.count(), Unseen: x.unseen, Differs: x.Differs(want, have)}, nil
	}
}

// Exporter is what an export has seen and decided.
type Exporter struct {
	Sight    refresh.Sight
	have     *node.Observed // the lists; its guests have their whole config
	cluster  bool
	guests   []*exported
	vms      []string
	unseen   []string
	busy     []string // guests that are being made, destroyed, moved or rolled back
	asked    int      // numbers of which PVE said whether they are free
	eye      []string // what needs an eye, of the guests
	stray    []string // what needs an eye, of other things
	refused  map[proxmox.VMID]map[string]string
	archives map[proxmox.VMID][]proxmox.Volume // newest first
}

// exported is one container of an export.
type exported struct {
	name    string
	state   *node.GuestState
	aside   string // why it is a comment only
	tagHeld bool
}

// Look reads all containers with their configs, and where backups of them lie.
func (x *Exporter) Look(ctx context.Context) error {
	view, n := x.Sight.View, x.Sight.Node
	none := &spec.Desired{}
	var err error
	if x.have, err = x.Sight.Looker(none, journal.MemoryJournal(), nil).Look(ctx); err != nil {
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
			config, err := view.GuestConfig(gctx, n, vmid)
			return keep(err, &state.Err, func() { state.Config = &config })
		})
	}
	for id, state := range have.Storages {
		if state.Conf.Disabled || state.Status == nil || !state.Status.Active || !node.HoldsGuestData(state.Conf) {
			continue
		}
		state.Looked = true
		g.Go(func() error {
			content, err := view.StorageContent(gctx, n, id, proxmox.ContentFilter{})
			return keep(err, &state.Err, func() { state.Content = content })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	have.ByID = nil
	have.Index()
	for _, r := range have.Others {
		x.cluster = x.cluster || r.Node != n
	}
	return x.lookForHidden(ctx)
}

// Choose names the guests and says what needs an eye.
func (x *Exporter) Choose() {
	x.archives = map[proxmox.VMID][]proxmox.Volume{}
	taken := map[string]bool{}
	hostnames := map[string]int{}
	for _, state := range x.have.Guests {
		if state.Config != nil {
			hostnames[strings.ToLower(state.Config.Hostname())]++
		}
	}
	for _, vmid := range slices.Sorted(maps.Keys(x.have.Guests)) {
		state := x.have.Guests[vmid]
		for id := range x.have.Storages {
			x.archives[vmid] = append(x.archives[vmid], x.have.ArchivesOf(id, vmid)...)
		}
		node.NewestFirst(x.archives[vmid])
		if state.Config == nil {
			x.unseen = append(x.unseen, fmt.Sprintf("guest %d (%s): %v. %s", vmid, state.Name, state.Err, text.Sentence(strings.Join(planning.CureOf(state.Err, fmt.Sprintf("look: pct config %d", vmid)), "; "))))
			continue
		}
		if t := x.have.Task(vmid, "vzcreate", "vzrestore", "vzdestroy", "vzrollback", "vzmigrate", "vzclone"); t != nil {
			x.busy = append(x.busy, fmt.Sprintf("%d (%s): %s runs since %s, by %s. Wait for it", vmid, state.Name, t.Type, x.have.Clock(t.StartTime), t.Owner()))
		}
		e := &exported{state: state, name: state.Config.Hostname(), tagHeld: slices.Contains(state.Tags, planning.HoldTag)}
		if proxmox.CheckHostname(e.name) != nil || e.name == "all" || hostnames[strings.ToLower(e.name)] > 1 || taken[e.name] {
			e.name = fmt.Sprintf("ct-%d", vmid)
			if base := strings.ToLower(state.Config.Hostname()); proxmox.CheckHostname(base) == nil {
				e.name = fmt.Sprintf("%s-%d", base, vmid)
			}
		}
		taken[e.name] = true
		e.aside = x.aside(state)
		x.guests = append(x.guests, e)
		x.inspect(e)
	}
	var vms []string
	for _, vmid := range slices.Sorted(maps.Keys(x.have.Others)) {
		if r := x.have.Others[vmid]; r.Type == "qemu" && r.Node == x.Sight.Node {
			vms = append(vms, fmt.Sprintf("%d (%s)", vmid, text.OrElse(r.Name, "no name")))
		}
	}
	x.vms = vms
}

// aside says why a guest cannot be taken over as it is, or "".
func (x *Exporter) aside(state *node.GuestState) string {
	config := state.Config
	markers := marker.FindMarkers(config.Description())
	switch {
	case config.Template():
		return "a template: it never runs, and is not taken over"
	case len(markers) == 1 && markers[0].Owner == x.have.Owner && markers[0].VMID == state.VMID:
		return fmt.Sprintf("ours already, as the object %s", markers[0].Object)
	case len(markers) > 0:
		return fmt.Sprintf("it bears the marker %q: another agent's, or a copy. Remove that from its Notes to take it over", markers[0].String())
	case config.Hostname() == "":
		return fmt.Sprintf("it has no hostname, by which a mistyped number is told: pct set %d --hostname NAME", state.VMID)
	}
	return ""
}

// inspect notes what a person should look at before trusting the file.
func (x *Exporter) inspect(e *exported) {
	config, vmid := e.state.Config, e.state.VMID
	say := func(format string, args ...any) {
		x.eye = append(x.eye, fmt.Sprintf("%d %s: ", vmid, e.name)+fmt.Sprintf(format, args...))
	}
	if e.aside != "" {
		say("not declared below: %s", e.aside)
		return
	}
	if !config.Unprivileged() {
		say("privileged: it can be backed up, but the token may not restore it")
	}
	mounts := config.MountPoints()
	for _, i := range slices.Sorted(maps.Keys(mounts)) {
		mp := mounts[i]
		switch {
		case mp.Kind() != proxmox.VolumeMount:
			say("mp%d %s is a folder or device of the host (%s): in no backup, and no snapshots of this guest", i, mp.Path(), mp.Volume())
		case !mp.Backup():
			say("mp%d %s%s is in no backup: pct set %d -mp%d %s,backup=1", i, mp.Path(), planning.SizeNote(mp), vmid, i, mp)
		}
	}
	if n := len(config.LXC); n > 0 {
		say("%s, which a restore by the token drops", text.Count(n, "raw lxc.* line", "raw lxc.* lines"))
	}
	for _, n := range slices.Sorted(maps.Keys(config.Unused())) {
		say("unused%d: %s is attached nowhere", n, config.Unused()[n])
	}
	if len(x.archives[vmid]) == 0 {
		say("no backup of it is to be seen: lost, it could not be brought back")
	}
	if e.state.HA != "" {
		say("HA decides whether it runs (%s)", e.state.HA)
	}
	if e.tagHeld {
		say("it bears the tag %s, so it is taken over when that is removed", planning.HoldTag)
	}
	for _, key := range slices.Sorted(maps.Keys(x.refused[vmid])) {
		say("%s is only a comment: %s", key, x.refused[vmid][key])
	}
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

// load reads the text back. What the language does not take of a guest becomes a
// comment, and the text is to be written again.
func (x *Exporter) load(text string) (want *spec.Desired, again bool, err error) {
	dir, err := os.MkdirTemp("", "felhom-export-")
	if err != nil {
		return nil, false, fmt.Errorf("the export cannot be checked: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "export.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, false, fmt.Errorf("the export cannot be checked: %w", err)
	}
	want, err = spec.Load(path)
	if err == nil {
		return want, false, nil
	}
	var several *multierror.Error
	if !errors.As(err, &several) {
		return nil, false, err
	}
	for _, each := range several.Errors {
		var mistake *spec.Error
		if !errors.As(each, &mistake) || !x.refuse(mistake) {
			return nil, false, err
		}
	}
	x.eye = nil
	for _, e := range x.guests {
		x.inspect(e)
	}
	return nil, true, nil
}

// refuse notes a value that the language does not take; it reports whether that was
// news.
func (x *Exporter) refuse(mistake *spec.Error) bool {
	for _, e := range x.guests {
		field, ok := strings.CutPrefix(mistake.Field, "guests."+e.name)
		if !ok || field != "" && field[0] != '.' || e.aside != "" {
			continue
		}
		if key, ok := strings.CutPrefix(field, ".config."); ok {
			key, _, _ = strings.Cut(key, ".")
			if x.refused[e.state.VMID] == nil {
				x.refused[e.state.VMID] = map[string]string{}
			}
			known := x.refused[e.state.VMID][key] != ""
			x.refused[e.state.VMID][key] = mistake.Message
			return !known
		}
		e.aside = mistake.Message
		return true
	}
	return false
}

// Differs lists what a plan of the export would do besides taking guests over, now or
// once they are taken over.
func (x *Exporter) Differs(want *spec.Desired, have *node.Observed) []string {
	all := slices.Clone(x.busy)
	held := map[spec.Ref]bool{}
	for _, e := range x.guests {
		held[spec.Ref{Kind: spec.KindGuest, Name: e.name}] = e.tagHeld
	}
	pl := planning.NewPlan(want, have)
	for _, a := range pl.Actions {
		if a.Verb != "adopt" {
			all = append(all, fmt.Sprintf("%s: %s %s", a.Object, a.Verb, a.Text))
		}
	}
	for _, l := range pl.Laters {
		all = append(all, fmt.Sprintf("%s: %s, %s", l.Object, l.Text, l.Waits))
	}
	for _, h := range pl.Held {
		if !held[h.Object] {
			all = append(all, fmt.Sprintf("%s: %s. %s", h.Object, h.Reason, text.Sentence(strings.Join(h.Cure, "; "))))
		}
	}
	p := &planning.Planner{Want: want, Have: have, Plan: &plan.Plan{}}
	for _, g := range node.GuestsOf(want) {
		state := have.Guests[g.VMID]
		if state == nil || state.Config == nil {
			continue // the plan has said so
		}
		for _, text := range p.Differences(g, state, marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: have.Owner, Born: have.Now}) {
			all = append(all, fmt.Sprintf("%s: %s", g.Ref, text))
		}
	}
	return all
}
