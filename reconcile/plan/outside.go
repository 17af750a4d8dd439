package plan

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// Unmanaged is a container or a VM of the node that nobody declares. It is never touched.
type Unmanaged struct {
	VMID proxmox.VMID `json:"vmid"`
	Type string       `json:"type"` // as PVE says: lxc or qemu
	Name string       `json:"name"` // as PVE lists it
}

// String is "105 (mail)" or "VM 200 (win11)".
func (u Unmanaged) String() string {
	s := fmt.Sprint(u.VMID)
	if u.Type != "lxc" {
		s = "VM " + s
	}
	if u.Name != "" {
		s += " (" + u.Name + ")"
	}
	return s
}

// CountUnmanaged is "2 guests and 1 VM"; "" where there is none.
func CountUnmanaged(all []Unmanaged) string {
	guests, vms := 0, 0
	for _, u := range all {
		if u.Type == "lxc" {
			guests++
		} else {
			vms++
		}
	}
	var parts []string
	if guests > 0 {
		parts = append(parts, text.Count(guests, "guest", "guests"))
	}
	if vms > 0 {
		parts = append(parts, text.Count(vms, "VM", "VMs"))
	}
	return text.List(parts)
}
