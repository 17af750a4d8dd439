package reconcile

import (
	"fmt"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// Two nodes of a cluster have a disk each, at the same path and for the same storage:
// the storage lies on the disk of the node that is looked after.
func TestAStorageLiesOnADiskOfItsNode(t *testing.T) {
	want := desired(t, `mounts:
  one: {uuid: 1111-1111, path: /mnt/usb/backup, storage: usb, node: pve1}
  two: {uuid: 2222-2222, path: /mnt/usb/backup, storage: usb, node: pve2}
`)
	for n, uuid := range map[string]string{"pve1": "1111-1111", "pve2": "2222-2222"} {
		have := &node.Observed{Node: n,
			Storages: map[string]*node.StorageState{"usb": {Conf: proxmox.Storage{ID: "usb", Path: "/mnt/usb/backup"}}},
			Host:     &node.HostState{Mounts: []privileged.Mount{{Path: "/mnt/usb/backup", Mounted: true, UUID: uuid}}}}
		if m, mounted := have.MountOf(want, "usb"); m == nil || m.Node != n || !mounted {
			t.Errorf("on %s: mounted is %t, of %v", n, mounted, m)
		}
	}
}

// What is said of a restore that cannot be sent does not depend on the order of a map.
func TestTheFirstVolumeThatCannotBeMadeIsNamed(t *testing.T) {
	in := proxmox.GuestConfig{Raw: map[string]string{"rootfs": "local-lvm:vm-1-disk-0,size=8G"}}
	for i := range 9 {
		in.Raw[fmt.Sprintf("mp%d", i)] = fmt.Sprintf("local-lvm:vm-1-disk-%d,mp=/mp%d,backup=1", i+1, i)
	}
	root, _ := in.RootFS()
	for range 20 {
		_, _, _, ob := questions.CreatedVolumes(questions.Questions{Have: &node.Observed{}}, &spec.Guest{}, "local-lvm", root, in)
		if want := "the archive does not say how large its mp0 is"; ob == nil || ob.Reason != want {
			t.Fatalf("it says %+v, want %q", ob, want)
		}
	}
}
