package reconcile

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// household makes a desired state of n guests, each with an hourly series of
// snapshots, all in one nightly backup, and the world in which it has converged
// except for the memory of every tenth guest.
func household(n int) (*spec.Desired, *node.Observed) {
	now := time.Date(2026, 11, 22, 18, 2, 9, 0, time.UTC)
	born := now.Add(-100 * 24 * time.Hour)
	want := &spec.Desired{Restores: map[string]*spec.Guest{}, Snapshots: map[string]*spec.Snapshot{}, Backups: map[string]*spec.Backup{}}
	have := &node.Observed{
		Node: "pve1", Owner: "pve1", TokenID: "felhom@pve!agent", Now: now,
		Guests: map[proxmox.VMID]*node.GuestState{}, Others: map[proxmox.VMID]proxmox.Resource{}, Storages: map[string]*node.StorageState{},
		Taken: map[proxmox.VMID]bool{}, Inside: map[string]node.Inside{},
		Permissions: proxmox.Permissions{"/": {"VM.Audit": true, "VM.Allocate": true, "VM.Backup": true, "VM.Snapshot": true, "VM.PowerMgmt": true,
			"VM.Config.CPU": true, "VM.Config.Memory": true, "VM.Config.Network": true, "VM.Config.Options": true, "SDN.Use": true,
			"VM.Config.Disk": true, "Datastore.AllocateSpace": true, "Datastore.Audit": true},
			"/vms": {"VM.Config.Memory": true}}, // PVE always lists it
	}
	backup := &node.StorageState{Conf: proxmox.Storage{ID: "usb", Type: "dir", Path: "/mnt/usb", Content: []string{"backup"}}, Status: &proxmox.StorageStatus{ID: "usb", Active: true}, Read: true}
	have.Storages["usb"] = backup
	want.Backups["nightly"] = &spec.Backup{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindBackup, Name: "nightly"}}, All: true, Storage: "usb",
		At: &spec.Schedule{Days: [7]bool{true, true, true, true, true, true, true}, Hour: 2, Minute: 30}, Keep: spec.Keep{Last: 3}}
	for i := range n {
		name, vmid := fmt.Sprintf("guest%05d", i), proxmox.VMID(1000+i)
		want.Restores[name] = &spec.Guest{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindRestore, Name: name}}, VMID: vmid, Storage: "local-lvm", State: spec.Running,
			From: []spec.Source{{Newest: "usb"}}, Config: spec.Config{Values: map[string]string{"memory": "512", "cores": "2"},
				Nets: map[int]proxmox.Net{0: {"name": "eth0", "bridge": "vmbr0", "ip": "dhcp"}}, Tags: []string{"shop"}}}
		memory := "512"
		if i%10 == 0 {
			memory = "256"
		}
		mark := Marker{Object: name, VMID: vmid, Owner: "pve1", Born: born}
		have.Guests[vmid] = &node.GuestState{
			Guest: proxmox.Guest{VMID: vmid, Name: name, Status: "running", Mem: 100 << 20},
			Config: &proxmox.GuestConfig{VMID: vmid, Digest: "0123", Raw: map[string]string{
				"hostname": name, "memory": memory, "cores": "2", "tags": "shop", "unprivileged": "1", "rootfs": fmt.Sprintf("local-lvm:vm-%d-disk-0,size=8G", vmid),
				"net0": "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", "description": marker.Describe("", mark) + "\n"}},
			Snapshots: &proxmox.SnapshotList{},
		}
		for day := range 3 {
			at := now.Truncate(24 * time.Hour).Add(time.Duration(-24*day)*time.Hour + 150*time.Minute)
			m := Marker{Object: "backups/nightly", VMID: vmid, Owner: "pve1", Born: born, Facts: map[string]string{"guest": name, "size": strconv.Itoa(1 << 30)}}
			backup.Content = append(backup.Content, proxmox.StorageContent{VolID: fmt.Sprintf("usb:backup/vzdump-lxc-%d-%s.tar.zst", vmid, at.Format("2006_01_02-15_04_05")),
				Content: "backup", Subtype: "lxc", VMID: vmid, Size: 1 << 30, CTime: at, Notes: m.String()})
		}
	}
	return want, have
}

func BenchmarkNewPlan(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			want, have := household(n)
			b.ReportAllocs()
			for b.Loop() {
				have.ByID = nil // the index is a part of the work
				NewPlan(want, have)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/object")
		})
	}
}

func TestPlanIsTheSameForTheSameInputs(t *testing.T) {
	want, have := household(50)
	first, again := NewPlan(want, have), NewPlan(want, have)
	if a, b := reconciletest.PlanText(first), reconciletest.PlanText(again); a != b {
		t.Errorf("two plans of one input differ:\n%s\n%s", a, b)
	}
	if n := len(first.Actions); n != 5 {
		t.Errorf("%d actions, want 5 changes of memory:\n%s", n, reconciletest.PlanText(first))
	}
}
