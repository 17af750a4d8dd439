package questions

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// Homeless reports whether an object of a cluster is to be made somewhere and does
// not say where. Guests that exist belong to the node on which they live.
func Homeless(q Questions, ref spec.Ref) bool {
	if len(q.Have.Nodes) < 2 || q.Want.Object(ref).Node != "" || q.Want.Node != "" {
		return false
	}
	if g := q.Want.Guest(ref.Name); g != nil && g.Ref == ref && g.Absent {
		return false // nothing is to be made
	}
	if vmid, ok := Vmid(q, ref); ok {
		return q.Have.Guests[vmid] == nil
	}
	return ref.Kind == spec.KindMount
}

// Elsewhere names the other node that an object belongs to, or "". A guest that
// exists belongs to the node on which it lives; all else to the node it declares.
func Elsewhere(q Questions, ref spec.Ref) string {
	if vmid, ok := Vmid(q, ref); ok {
		if _, here := q.Have.Guests[vmid]; here || q.Have.Others[vmid].Ambiguous {
			return ""
		}
		if r, ok := q.Have.Others[vmid]; ok && (r.Type == "lxc" || r.Type == "qemu") && proxmox.GuestTypeOf(r.Type) == typeOf(q, ref) && r.Node != q.Have.Node {
			return r.Node
		}
	}
	node := q.Want.Object(ref).Node
	if ref.Kind == spec.KindSnapshot {
		if g := q.Want.Guest(q.Want.Snapshots[ref.Name].Guest); g != nil {
			return Elsewhere(q, g.Ref)
		}
	}
	if node == "" {
		node = q.Want.Node
	}
	if node != "" && node != q.Have.Node {
		return node
	}
	return ""
}

// typeOf is the declared type of the guest of an object; golden images are containers.
func typeOf(q Questions, ref spec.Ref) proxmox.GuestType {
	if g := q.Want.Guest(ref.Name); g != nil && g.Ref == ref {
		return g.Type
	}
	return proxmox.LXC
}

// Vmid returns the VMID that an object declares, if it is of a kind that has one.
func Vmid(q Questions, ref spec.Ref) (proxmox.VMID, bool) {
	switch ref.Kind {
	case spec.KindGolden:
		return q.Want.Golden[ref.Name].VMID, true
	case spec.KindRestore:
		return q.Want.Restores[ref.Name].VMID, true
	case spec.KindGuest:
		return q.Want.Guests[ref.Name].VMID, true
	}
	return 0, false
}

// WhenFree says when an operation can be sent: now, or after a task that works on its guest, takes
// PVE's one place for backups, creates a guest, or was begun by another agent.
func WhenFree(q Questions, a *plan.Action) string {
	if t := q.Have.OtherAgent(); t != nil {
		return whenEnded(q, t, true)
	}
	if id, ok := strings.CutPrefix(a.Queue, "lxc/"); ok {
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if t := q.Have.Holder(vmid); t != nil {
				return whenEnded(q, t, false)
			}
			if state := q.Have.Guests[vmid]; state != nil && state.Lock != "" {
				return fmt.Sprintf("when %d is no longer locked (%s)", vmid, state.Lock)
			}
		}
	}
	if t := TakenBy(q.Have, a.Limit); t != nil {
		return whenEnded(q, t, true)
	}
	return "now"
}

func whenEnded(q Questions, t *proxmox.Task, named bool) string {
	what := t.Type
	if named {
		what = TaskName(t)
	}
	return fmt.Sprintf("when %s has ended (since %s, by %s)", what, q.Have.Clock(t.StartTime), t.Owner())
}

// Timeout is how long the task of an object's act is waited for.
func Timeout(o *spec.Object, byDefault time.Duration) time.Duration {
	return cmp.Or(o.Timeout, byDefault)
}

const (
	ShortTask = 10 * time.Minute
)
