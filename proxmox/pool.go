package proxmox

import (
	"context"
	"fmt"
	"regexp"
	"slices"
)

// Pool is a resource pool with its members: privileges given on /pool/ID hold
// for each of them, while it is a member.
type Pool struct {
	ID       string
	Comment  string
	Guests   []VMID // containers and virtual machines, in order
	Storages []string
}

// Pool reads a pool. Needs Pool.Audit on /pool/ID. Of its guests PVE lists
// those that exist; a guest that is being restored is not a member before its
// restore has ended (measured, 9.2.11).
func (v *View) Pool(ctx context.Context, id string) (Pool, error) {
	if err := CheckPoolID(id); err != nil {
		return Pool{}, err
	}
	w, r, err := read[struct {
		Comment text
		Members []struct {
			Type, Storage text
			VMID          number
		}
	}](ctx, v, "/pools/"+id, nil)
	if err != nil {
		return Pool{}, err
	}
	p := Pool{ID: id, Comment: string(w.Comment)}
	for _, m := range w.Members {
		switch m.Type {
		case "lxc", "qemu":
			if m.VMID <= 0 {
				return Pool{}, r.fault("a guest of pool %s has no VMID", id)
			}
			p.Guests = append(p.Guests, VMID(m.VMID))
		case "storage":
			p.Storages = append(p.Storages, string(m.Storage))
		}
	}
	slices.Sort(p.Guests)
	slices.Sort(p.Storages)
	return p, nil
}

var poolForm = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// CheckPoolID says what is wrong with the name of a pool. Pools within pools
// (a/b) are left out.
func CheckPoolID(s string) error {
	if !poolForm.MatchString(s) || s == "." || s == ".." {
		return fmt.Errorf("invalid pool name %q: expected letters, digits, and - _ ., for example %s", s, TestPool)
	}
	return nil
}
