package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// The newest whole archive is never named as one that a person could delete, nor a protected one; a damaged newer one
// is, and its size says nothing of the room that is needed.
func TestRoomNamesWhatCouldGo(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	archive := func(day int, size, noted proxmox.Size) proxmox.Volume {
		at := time.Date(2026, 11, day, 2, 0, 0, 0, time.UTC)
		return proxmox.Volume{VolID: fmt.Sprintf("usb:backup/vzdump-lxc-101-2026_11_%02d-02_00_00.tar.zst", day), Content: "backup", Subtype: "lxc", VMID: 101, Size: size, CTime: at,
			Notes: Marker{Object: "backups/daily", VMID: 101, Owner: "pve1", Facts: map[string]string{"size": fmt.Sprint(int64(noted))}}.String()}
	}
	const mib = proxmox.MiB
	held := archive(19, 300*mib, 300*mib)
	held.Protected = true
	have := &Observed{Node: "pve1", Owner: "pve1", Now: now, Storages: map[string]*StorageState{"usb": {
		Conf: proxmox.Storage{ID: "usb", Type: "dir"}, Status: &proxmox.StorageStatus{Total: 1000 * mib, Avail: 200 * mib},
		Content: []proxmox.Volume{archive(18, 290*mib, 290*mib), held, archive(20, 310*mib, 310*mib), archive(21, 320*mib, 320*mib), archive(22, 13*mib, 35*mib)},
	}}}
	have.index()
	p := &planner{want: &spec.Desired{}, have: have}
	g := &spec.Guest{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindGuest, Name: "dns"}}, VMID: 101}
	ob := p.room(&spec.Backup{Storage: "usb"}, g)
	if ob == nil {
		t.Fatal("there is room")
	}
	want := []string{"make room, or plug in a larger disk",
		"a person could delete: pvesm free usb:backup/vzdump-lxc-101-2026_11_18-02_00_00.tar.zst (18 Nov 02:00, 290 MiB), " +
			"pvesm free usb:backup/vzdump-lxc-101-2026_11_20-02_00_00.tar.zst (20 Nov 02:00, 310 MiB), pvesm free usb:backup/vzdump-lxc-101-2026_11_22-02_00_00.tar.zst (22 Nov 02:00, 13 MiB)"}
	if ob.reason != "usb has 200 MiB left, and the last archive of dns has 320 MiB: 120 MiB more must be free" || !slices.Equal(ob.cure, want) {
		t.Errorf("%s\n%q", ob.reason, ob.cure)
	}
	have.Storages["usb"].Status.Avail = 320 * mib
	if ob := p.room(&spec.Backup{Storage: "usb"}, g); ob != nil {
		t.Errorf("there is no room: %s", ob.reason)
	}
}
