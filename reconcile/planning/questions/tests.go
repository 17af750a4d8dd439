package questions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// ArchiveToTest chooses the backup of a guest that a restore test takes, as a real restore would: the newest of the
// guest's own that is proven whole, of all storages where its backups go.
func ArchiveToTest(q Questions, mounting Mounting, t *spec.Test, g *spec.Guest) (*node.Choice, *plan.Blocker) {
	sources := node.TestSources(q.Want, t, g)
	if len(sources) == 0 {
		return nil, &plan.Blocker{Reason: fmt.Sprintf("no declared backup names %s", g.Ref.Name), Fix: []string{"declare one under backups:", "or say where its backups are: from: STORAGE"}}
	}
	var best *node.Choice
	var why *plan.Blocker
	for _, id := range sources {
		c, ob := newestToTest(q, mounting, g, spec.Source{Newest: id})
		switch {
		case ob != nil && why == nil:
			why = ob
		case c != nil && (best == nil || c.Volume.CTime.After(best.Volume.CTime)):
			best = c
		}
	}
	if best != nil {
		return best, nil
	}
	if why == nil {
		why = &plan.Blocker{Reason: fmt.Sprintf("%s has no verified backup on %s", g.Ref.Name, text.List(sources)), Fix: []string{"see felhom-agent --plan --only " + g.Ref.String()}}
	}
	return nil, why
}

func newestToTest(q Questions, mounting Mounting, g *spec.Guest, source spec.Source) (*node.Choice, *plan.Blocker) {
	for _, ob := range []func() *plan.Blocker{
		func() *plan.Blocker { return Seen(q, mounting, source.Newest) },
		func() *plan.Blocker { return ServerHides(q, source.Newest, g) },
		func() *plan.Blocker { return BackupsHidden(q, g, source) },
		func() *plan.Blocker { return node.AmbiguousArchive(q.Have, source.Newest, g.VMID) },
	} {
		if ob := ob(); ob != nil {
			return nil, ob
		}
	}
	c, _, unread := node.NewestArchive(q.Have, g, source)
	if unread != nil || c == nil {
		return nil, unread
	}
	if !node.Proven(q.Have, c.Volume) {
		return nil, nil
	}
	return c, nil
}

// A TestPlan is the restore of a backup as a test guest, and what the plan says of it.
type TestPlan struct {
	Spec   proxmox.RestoreSpec
	Marker marker.Marker
	Size   proxmox.Size // of its volumes
	Detail []string
}

// TestRestore builds the restore of a backup as a test guest, beside its guest: every interface without a link, with a
// MAC address of its own, every volume on the storage of the test, no folder of the host.
func TestRestore(q Questions, t *spec.Test, g *spec.Guest, c *node.Choice, vmid proxmox.VMID) (*TestPlan, *plan.Blocker) {
	in := c.Inside
	if ob := notTestable(c); ob != nil {
		return nil, ob
	}
	nonce := text.ShortHash(fmt.Sprintf("%s %s %s %d %s %d", q.Have.Owner, t.Ref, c.Volume.VolID, vmid, g.Ref.Name, q.Have.Now.UnixNano()))
	p := &TestPlan{Marker: marker.Marker{Object: t.Ref.String(), VMID: vmid, Owner: q.Have.Owner, Born: q.Have.Now, Facts: map[string]string{node.NonceFact: nonce, "guest": g.Ref.Name}}}
	config := map[string]string{"hostname": testHostname(g.Ref.Name), "onboot": "0", "protection": "0", "tags": proxmox.TestPool,
		"description": marker.Describe(fmt.Sprintf("A restore test of %s (%d): felhom-agent deletes it. To keep it, remove this line.", g.Ref.Name, g.VMID), p.Marker)}
	if memory := int64(t.Memory / proxmox.MiB); memory > 0 && memory < in.MemoryMiB() {
		config["memory"] = fmt.Sprint(memory)
	}
	if ob := testNets(q, config, vmid, in); ob != nil {
		return nil, ob
	}
	p.Spec = proxmox.RestoreSpec{VMID: vmid, Archive: c.Volume.VolID, Storage: t.Storage, Config: config, Pool: q.Have.Tests.Pool}
	if ob := p.volumes(t, in); ob != nil {
		return nil, ob
	}
	return p, nil
}

// testHostname marks a test guest for people; nothing is decided by it alone.
func testHostname(guest string) string {
	name := node.TestPrefix + guest
	return strings.TrimRight(name[:min(len(name), 63)], "-.")
}

// notTestable says why a token cannot restore an archive so that it can be started and deleted again.
func notTestable(c *node.Choice) *plan.Blocker {
	in := c.Inside
	byRoot := []string{"test it as root: pct restore VMID " + c.Volume.VolID, "or leave the guest out: except: [NAME]"}
	switch {
	case !in.Unprivileged():
		return &plan.Blocker{Reason: fmt.Sprintf("the backup %s is of a privileged container, which a token may not restore", c.Volume.VolID), Fix: byRoot}
	case in.Template():
		return &plan.Blocker{Reason: fmt.Sprintf("the backup %s is of a template, which cannot be started", c.Volume.VolID), Fix: byRoot[1:]}
	case len(in.Devices()) > 0:
		return &plan.Blocker{Reason: fmt.Sprintf("the backup %s has a device of the host, which a token cannot leave out", c.Volume.VolID), Fix: byRoot}
	case in.Raw["hookscript"] != "":
		return &plan.Blocker{Reason: fmt.Sprintf("the backup %s has a hookscript, which would run on the node", c.Volume.VolID), Fix: byRoot}
	}
	return nil
}

// testNets overrides every interface of the archive. Without a bridge that exists a guest does not start.
func testNets(q Questions, config map[string]string, vmid proxmox.VMID, in proxmox.GuestConfig) *plan.Blocker {
	used := node.BridgesInUse(q.Have)
	for i, net := range in.Nets() {
		bridge := net["bridge"]
		if !used[bridge] && !slices.Contains(q.Have.Bridges, bridge) {
			bridge = ""
			if all := append(text.Keys(used), q.Have.Bridges...); len(all) > 0 {
				bridge = all[0]
			}
		}
		if bridge == "" {
			return &plan.Blocker{Reason: "no bridge of the node is known, and a guest with an interface needs one to start", Fix: []string{"see pvesh get /nodes/" + q.Have.Node + "/network --type any_bridge"}}
		}
		alone := net.Isolated(bridge)
		alone["hwaddr"] = Mac(q.Have.Owner, vmid, i)
		config[fmt.Sprintf("net%d", i)] = alone.String()
	}
	return nil
}

// volumes repeats rootfs and every mount point of the archive with all their options: what is not repeated is lost, and
// what PVE is not told is made on the archive's own storages.
func (p *TestPlan) volumes(t *spec.Test, in proxmox.GuestConfig) *plan.Blocker {
	again := func(mp proxmox.MountPoint, what string) (string, *plan.Blocker) {
		size, known := mp.Size()
		if !known || size <= 0 {
			return "", &plan.Blocker{Reason: "the backup does not say how large its " + what + " is", Fix: []string{"restore it as root: pct restore"}}
		}
		p.Size += size
		own := maps.Clone(mp)
		delete(own, "size")
		own["volume"] = proxmox.NewVolume(t.Storage, size)
		return own.String(), nil
	}
	root, _ := in.RootFS()
	var ob *plan.Blocker
	if p.Spec.RootFS, ob = again(root, "rootfs"); ob != nil {
		return ob
	}
	p.Spec.MountPoints = map[int]string{}
	var left []string
	all := in.MountPoints()
	for _, i := range text.Keys(all) {
		mp := all[i]
		if mp.Kind() != proxmox.VolumeMount {
			left = append(left, fmt.Sprintf("mp%d %s (a folder of the host)", i, mp.Path()))
			continue
		}
		if p.Spec.MountPoints[i], ob = again(mp, fmt.Sprintf("mp%d", i)); ob != nil {
			return ob
		}
		if !mp.Backup() {
			left = append(left, fmt.Sprintf("mp%d %s (not in backups; empty)", i, mp.Path()))
		}
	}
	p.Detail = []string{fmt.Sprintf("%s on %s, without a network link, and deleted afterwards", p.Size, t.Storage)}
	if len(left) > 0 {
		p.Detail = append(p.Detail, "not tested: "+strings.Join(left, ", "))
	}
	return nil
}

// TestRoom says why there is no room for a test guest: a thin pool that runs full stops every guest on it, and memory
// that is not there kills some.
func TestRoom(q Questions, t *spec.Test, p *TestPlan, in proxmox.GuestConfig) *plan.Blocker {
	if ob := TakesVolumes(q, t.Storage); ob != nil {
		return ob
	}
	status := q.Have.Storages[t.Storage].Status
	if margin := status.Total / 20; status.Total > 0 && status.Avail < p.Size+margin {
		return &plan.Blocker{Reason: fmt.Sprintf("%s has %s left; the test guest may take %s, and %s must stay free", t.Storage, status.Avail.Human(), p.Size, margin.Human()),
			Fix: []string{"make room on " + t.Storage, "or name another storage"}}
	}
	memory := proxmox.Size(in.MemoryMiB()) * proxmox.MiB
	if t.Memory > 0 {
		memory = min(memory, t.Memory)
	}
	if free := q.Have.FreeRAM; free > 0 && free < memory+q.Have.RAM/20 {
		return &plan.Blocker{Reason: fmt.Sprintf("%s has %s of memory free, and the test guest may take %s", q.Have.Node, free.Human(), memory.Human()), Fix: []string{"give it less: memory: 512MiB"}}
	}
	return nil
}

// beforeBackups is how long before a scheduled backup no test is begun.
const beforeBackups = 30 * time.Minute

// TestWaits says for what a test waits before it is begun: everything real goes first. "": for nothing. What a person
// wants at once does not wait for the schedule of backups.
func TestWaits(q Questions, planned *plan.Plan, took time.Duration, atOnce bool) string {
	for _, t := range q.Have.Tasks {
		if t.Running() && slices.Contains([]string{"vzdump", "vzrestore", "vzcreate", "vzclone", "qmrestore", "qmclone", "imgcopy", "verificationjob"}, t.Type) {
			return fmt.Sprintf("when %s has ended", TaskName(&t))
		}
	}
	first := func(verb, limit string) bool { // a backup is verified when it was recorded
		return verb == journal.VerbBackUp || verb == "record" || verb == "publish" || strings.HasPrefix(limit, "create ")
	}
	for _, a := range planned.Actions {
		if first(a.Verb, a.Limit) {
			return fmt.Sprintf("after %s of %s", a.Verb, a.Object)
		}
	}
	for _, f := range q.Have.Memory.Flights {
		if first(f.Verb, f.Limit) {
			return fmt.Sprintf("after %s of %s", f.Verb, f.Object)
		}
	}
	for _, name := range text.Keys(q.Want.Backups) {
		b := q.Want.Backups[name]
		if b.At == nil || atOnce || Elsewhere(q, b.Ref) != "" {
			continue
		}
		if at := b.At.Next(q.Have.Now); at.Sub(q.Have.Now) < max(beforeBackups, 2*took) {
			return fmt.Sprintf("after the backups of %s", q.Have.Date(at))
		}
	}
	return ""
}

// TestGuards says what keeps a guest in the range of a test from being touched as the guest of this test; nil: it is
// certain that this test has made it. All of it was read in this pass. A name proves nothing.
func TestGuards(q Questions, t *spec.Test, run *journal.TestRun, s *node.GuestState) []string {
	var missing []string
	need := func(ok bool, format string, args ...any) {
		if !ok {
			missing = append(missing, fmt.Sprintf(format, args...))
		}
	}
	need(t.VMIDs.Contains(run.VMID), "%d is not in vmids: %s", run.VMID, t.VMIDs)
	need(!node.DeclaredVMIDs(q.Want)[run.VMID], "%d is declared as a guest", run.VMID)
	if s.Config == nil || s.Snapshots == nil && !node.TouchesTest(run, s) {
		return append(missing, "its configuration cannot be read")
	}
	need(node.TestNonce(q.Have, s) == run.Nonce && run.Nonce != "", "its Notes do not have the mark of this test")
	need(madeByUs(q, run), "no task of %s is known to have made it", q.Have.Tests.TokenID)
	need(q.Have.Others[run.VMID].Pool == q.Have.Tests.Pool && q.Have.Tests.Pool != "", "it is not in the pool %s", q.Have.Tests.Pool)
	need(strings.HasPrefix(s.Config.Hostname(), node.TestPrefix), "its hostname is %s", text.OrElse(s.Config.Hostname(), "missing"))
	need(!s.Config.Protection(), "it is protected")
	need(!s.Config.Template() && !s.Template, "it is a template")
	need(s.Lock == "" && s.Config.Lock() == "", "it is locked (%s)", text.OrElse(s.Lock, s.Config.Lock()))
	need(s.Config.Parent() == "" && (s.Snapshots == nil || len(s.Snapshots.Snapshots) == 0), "it has a snapshot")
	need(s.HA == "", "HA manages it")
	return missing
}

// madeByUs reports whether a restore that this journal has sent, with the token of tests, has made the guest.
func madeByUs(q Questions, run *journal.TestRun) bool {
	ours := func(id proxmox.UPID) bool {
		return id.Type == "vzrestore" && id.ID == run.VMID.String() && id.User == q.Have.Tests.TokenID && q.Have.Tests.TokenID != ""
	}
	if !run.Restore.UPID.IsZero() {
		return ours(run.Restore.UPID)
	}
	return slices.ContainsFunc(q.Have.Tasks, func(t proxmox.Task) bool { // its answer was lost
		return ours(t.UPID) && !t.Running() && !t.StartTime.Before(run.Restore.Begun.Add(-2*time.Second))
	})
}
