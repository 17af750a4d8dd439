package questions

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A Departure is an object that was managed and is no longer declared.
type Departure struct {
	Object spec.Ref
	VMID   proxmox.VMID // of its guest, where that is here and nobody declares it; else 0
	Text   string       // what stays, and what ends
}

// Left are the objects of the last desired state that this one no longer declares, by name.
// known is what was managed then, with the VMID where the object has one. One that was renamed has not left.
func Left(q Questions, known map[string]proxmox.VMID) []Departure {
	if len(known) == 0 {
		return nil
	}
	declared, vmids := map[string]bool{}, map[proxmox.VMID]spec.Ref{}
	for _, ref := range q.Want.Refs() {
		for _, name := range q.Want.Object(ref).Names() {
			declared[name] = true
		}
		if vmid, ok := Vmid(q, ref); ok {
			vmids[vmid] = ref
		}
	}
	var left []Departure
	for _, name := range text.Keys(known) {
		ref, err := spec.ParseRef(name)
		if err != nil || declared[name] {
			continue
		}
		left = append(left, departure(q, ref, known[name], vmids))
	}
	return left
}

// departure says what stays of one object, and what ends.
func departure(q Questions, ref spec.Ref, vmid proxmox.VMID, declared map[proxmox.VMID]spec.Ref) Departure {
	d := Departure{Object: ref, Text: "no longer declared: what it has made stays"}
	heir, has := declared[vmid]
	switch {
	case ref.Kind == spec.KindMount:
		d.Text = "no longer declared: what is mounted stays mounted"
	case ref.Kind == spec.KindSnapshot:
		d.Text = "no longer declared: its snapshots stay; none is taken or pruned any more"
	case ref.Kind == spec.KindBackup:
		d.Text = "no longer declared: its archives stay; none is made or pruned any more"
	case ref.Kind == spec.KindTest:
		d.Text = "no longer declared: nothing is tested any more; a test guest that is there stays"
	case vmid == 0 || q.Have.Guests[vmid] == nil:
	case has:
		d.Text = fmt.Sprintf("no longer declared under this name: guest %d is %s now", vmid, heir)
	default:
		d.VMID, d.Text = vmid, fmt.Sprintf("no longer declared: guest %d stays", vmid)
		if backups := coveredBefore(q, ref, vmid); len(backups) > 0 {
			verb := "cover"
			if len(backups) == 1 {
				verb = "covers"
			}
			d.Text += fmt.Sprintf("; %s no longer %s it", text.List(backups), verb)
		}
	}
	return d
}

// coveredBefore are the declared backups of which a guest was a part: those of all guests, and
// those that have made an archive of it.
func coveredBefore(q Questions, ref spec.Ref, vmid proxmox.VMID) []string {
	made := map[string]bool{}
	for _, v := range q.Have.ByGuest[vmid] {
		if m, ok := q.Have.MarkerOf(v.Notes); ok && v.Content == "backup" && m.Owner == q.Have.Owner && m.Facts["guest"] == ref.Name {
			made[m.Object] = true
		}
	}
	var backups []string
	for _, name := range text.Keys(q.Want.Backups) {
		b := q.Want.Backups[name]
		if made[b.Ref.String()] || b.All && ref.Kind != spec.KindGolden && !slices.Contains(b.Except, ref.Name) {
			backups = append(backups, b.Ref.String())
		}
	}
	return backups
}

// Uncovered are the guests of a list of objects that no declared backup names.
func Uncovered(q Questions, guests []spec.Ref) []spec.Ref {
	covered := map[string]bool{}
	for _, b := range q.Want.Backups {
		for _, name := range q.Want.BackupGuests(b) {
			covered[name] = true
		}
	}
	return append([]spec.Ref{}, slices.DeleteFunc(slices.Clone(guests), func(ref spec.Ref) bool { return covered[ref.Name] || q.Want.Guest(ref.Name).Absent })...)
}

// Unmanaged are the containers and VMs of this node that are not declared, by VMID.
func Unmanaged(q Questions) []plan.Unmanaged {
	all := []plan.Unmanaged{}
	declared := node.DeclaredVMIDs(q.Want)
	for i := range q.Have.Memory.Tests { // a test guest is there for minutes
		if run := &q.Have.Memory.Tests[i]; !node.TestOver(q.Have, run) {
			declared[run.VMID] = true
		}
	}
	for vmid, state := range q.Have.Guests {
		if !declared[vmid] {
			all = append(all, plan.Unmanaged{VMID: vmid, Type: state.Type.String(), Name: state.Name})
		}
	}
	for vmid, r := range q.Have.Others {
		if r.Type == "qemu" && r.Node == q.Have.Node && q.Have.Guests[vmid] == nil {
			all = append(all, plan.Unmanaged{VMID: vmid, Type: "qemu", Name: r.Name})
		}
	}
	slices.SortFunc(all, func(a, b plan.Unmanaged) int { return cmp.Or(cmp.Compare(a.VMID, b.VMID), cmp.Compare(a.Type, b.Type)) })
	return all
}
