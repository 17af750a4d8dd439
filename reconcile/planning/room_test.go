package planning

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// The newest whole archive is never named as one that a person could delete, nor a protected one; a damaged newer one
// is, and its size says nothing of the room that is needed.
func TestRoomNamesWhatCouldGo(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	archive := func(day int, size, noted proxmox.Size) proxmox.StorageContent {
		at := time.Date(2026, 11, day, 2, 0, 0, 0, time.UTC)
		return proxmox.StorageContent{VolID: fmt.Sprintf("usb:backup/vzdump-lxc-101-2026_11_%02d-02_00_00.tar.zst", day), Content: "backup", Subtype: "lxc", VMID: 101, Size: size, CTime: at,
			Notes: marker.Marker{Object: "backups/daily", VMID: 101, Owner: "pve1", Facts: map[string]string{"size": fmt.Sprint(int64(noted))}}.String()}
	}
	const mib = proxmox.MiB
	held := archive(19, 300*mib, 300*mib)
	held.Protected = true
	have := &node.Observed{Node: "pve1", Owner: "pve1", Now: now, Storages: map[string]*node.StorageState{"usb": {
		Conf: proxmox.Storage{ID: "usb", Type: "dir"}, Status: &proxmox.StorageStatus{Total: 1000 * mib, Avail: 200 * mib},
		Content: []proxmox.StorageContent{archive(18, 290*mib, 290*mib), held, archive(20, 310*mib, 310*mib), archive(21, 320*mib, 320*mib), archive(22, 13*mib, 35*mib)},
	}}}
	have.Index(nil)
	q := questions.Questions{Want: &spec.Desired{}, Have: have}
	p := &planner{Questions: q, builder: newBuilder(q)}
	guest := func(name string, vmid proxmox.VMID) *spec.Guest {
		return &spec.Guest{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindGuest, Name: name}}, VMID: vmid}
	}
	b := &spec.Backup{Storage: "usb"}
	check := func(shortages []refresh.Shortage, reason string, fix ...string) {
		t.Helper()
		blockShort(p, b, shortages)
		if len(p.plan.Blocked) != 1 || p.plan.Blocked[0].Reason != reason || !slices.Equal(p.plan.Blocked[0].Fix, fix) {
			t.Errorf("%+v", p.plan.Blocked)
		}
		p.plan.Blocked = nil
	}
	dns, short := questions.Short(p.Questions, b, guest("dns", 101))
	if !short {
		t.Fatal("there is room")
	}
	const free = "pvesm free usb:backup/vzdump-lxc-101-2026_11_"
	check([]refresh.Shortage{dns}, "usb has 200 MiB left, and the last archive of dns has 320 MiB: 120 MiB more must be free", "make room, or connect a larger disk",
		"you could delete: "+free+"18-02_00_00.tar.zst (18 Nov 02:00, 290 MiB), "+free+"20-02_00_00.tar.zst (20 Nov 02:00, 310 MiB), "+free+"22-02_00_00.tar.zst (22 Nov 02:00, 13 MiB)")

	// Several guests are one line, with the oldest archives of all of them.
	web := refresh.Shortage{Guest: "web", Last: 300 * mib, Older: []proxmox.StorageContent{{VolID: "usb:backup/web", CTime: now.AddDate(0, 0, -3), Size: 280 * mib}}}
	check([]refresh.Shortage{dns, web}, "usb has 200 MiB left, and the last archives have more (dns 320 MiB, web 300 MiB): 420 MiB more must be free", "make room, or connect a larger disk",
		"you could delete: "+free+"18-02_00_00.tar.zst (18 Nov 02:00, 290 MiB), pvesm free usb:backup/web (19 Nov 18:00, 280 MiB), "+free+"20-02_00_00.tar.zst (20 Nov 02:00, 310 MiB)")

	have.Storages["usb"].Status.Avail = 320 * mib
	if _, short := questions.Short(p.Questions, b, guest("dns", 101)); short {
		t.Error("there is room")
	}
	if blockShort(p, b, nil); len(p.plan.Blocked) != 0 {
		t.Errorf("%+v", p.plan.Blocked)
	}
}
