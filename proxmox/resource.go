package proxmox

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Resource is one entry of the cluster's list of resources. Of a guest, only
// ID, Node, VMID, Tags and Lock are live; the rest is up to some ten seconds
// old and "unknown" for a new guest.
type Resource struct {
	ID       string // lxc/111
	Type     string // lxc, qemu, storage, node …
	Node     string
	Status   string
	Name     string
	Storage  string
	Pool     string
	Lock     string
	HAState  string
	VMID     VMID
	Tags     []string
	Template bool
	// Disk is how much of MaxDisk is in use: of a storage, a node or a guest.
	Disk, MaxDisk Size
	// CPUs and MaxMem are what a node has, Mem what of it is in use; 0 of other things, without Sys.Audit on the node,
	// and while it is not online.
	CPUs   int
	MaxMem Size
	Mem    Size
	// Ambiguous tells that the list names it twice, with different values. Two guests of one
	// VMID are that too, for a VMID belongs to one guest of the cluster.
	Ambiguous bool
}

// identity is what a resource is known by: a guest by its VMID, whatever its type.
func (r Resource) identity() string {
	if r.Type == "lxc" || r.Type == "qemu" {
		return "guest/" + r.VMID.String()
	}
	return r.ID
}

// StorageStatus is what a resource of the type storage tells of it: less than
// View.NodeStorage and up to some ten seconds old, but at once, also where another storage
// does not answer. Types and contents are not in it.
func (r Resource) StorageStatus() StorageStatus {
	return StorageStatus{ID: r.Storage, Active: r.Status == "available", Enabled: true, Ambiguous: r.Ambiguous,
		Total: r.MaxDisk, Used: r.Disk, Avail: max(r.MaxDisk-r.Disk, 0)}
}

// Resources lists what the token may see in the whole cluster; kind is vm,
// storage, node, sdn or "" for all. Guests need VM.Audit.
func (v *View) Resources(ctx context.Context, kind string) ([]Resource, error) {
	p := Params{}
	p.set("type", kind)
	resources, err := readAs(ctx, v, "/cluster/resources", p, resourcesOf)
	resources = slices.Clone(resources)
	for i := range resources {
		resources[i].Tags = slices.Clone(resources[i].Tags)
	}
	return resources, err
}

type resourceWire struct {
	ID, Type, Node, Status, Name, Storage, Pool, Lock, HAState, Tags text
	MaxCPU, MaxMem, Mem                                              text // only a node's are read
	VMID, Disk, MaxDisk                                              number
	Template                                                         flag
}

func resourcesOf(w []odd[resourceWire], r *reply) ([]Resource, error) {
	resources := make([]Resource, 0, len(w))
	for _, read := range w {
		e := read.value
		if read.err != nil {
			var named struct{ Type text }
			if json.Unmarshal(read.raw, &named) != nil || slices.Contains([]text{"", "lxc", "qemu", "node"}, named.Type) {
				return nil, r.fault("%v", read.err)
			}
			continue // of a kind that is nothing to us
		}
		if e.ID == "" || e.Type == "" {
			return nil, r.fault("a resource has no id or type")
		}
		resources = append(resources, Resource{
			ID: string(e.ID), Type: string(e.Type), Node: string(e.Node), Status: string(e.Status), Name: string(e.Name),
			Storage: string(e.Storage), Pool: string(e.Pool), Lock: string(e.Lock), HAState: string(e.HAState),
			VMID: VMID(e.VMID), Tags: ParseTags(string(e.Tags)), Template: bool(e.Template),
			Disk: Size(e.Disk), MaxDisk: Size(e.MaxDisk),
		})
		if e.Type == "node" {
			of := &resources[len(resources)-1]
			of.CPUs, _ = strconv.Atoi(string(e.MaxCPU))
			bytes, _ := strconv.ParseInt(string(e.MaxMem), 10, 64)
			of.MaxMem = Size(bytes)
			bytes, _ = strconv.ParseInt(string(e.Mem), 10, 64)
			of.Mem = Size(bytes)
		}
	}
	resources = distinct(resources, Resource.identity, func(first *Resource, later Resource) {
		later.Ambiguous, later.Disk, later.Mem = first.Ambiguous, first.Disk, first.Mem // how full it is changes from one moment to the next
		first.Ambiguous = first.Ambiguous || differ(*first, later)
	})
	slices.SortFunc(resources, func(a, b Resource) int { return strings.Compare(a.ID, b.ID) })
	return resources, nil
}

// VMIDFree tells whether no guest in the cluster has that number, also none
// that the token cannot see. It reserves nothing, and volumes of a lost guest
// do not count.
func (v *View) VMIDFree(ctx context.Context, vmid VMID) (bool, error) {
	next, r, err := read[text](ctx, v, "/cluster/nextid", Params{"vmid": vmid.String()})
	switch {
	case IsExists(err):
		return false, nil
	case err != nil:
		return false, err
	case string(next) != vmid.String():
		return false, r.fault("asked for %d, it says %q", vmid, next)
	}
	return true, nil
}
