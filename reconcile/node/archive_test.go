package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// The newest proven archive is taken, and every newer one is named with its reason: a person
// who knows better must be able to see that there is one.
func TestNewestNamesWhatItPassesOver(t *testing.T) {
	const ours = "<!-- felhom-agent/1 dns vmid=101 owner=pve1 born=2026-11-20T10:00:00Z -->"
	const notes = "felhom-agent/1 backups/daily vmid=101 owner=pve1 born=2026-11-20T10:00:00Z guest=dns"
	type archive struct{ hour, inside, hostname, notes string }
	proven := archive{"02", ours, "dns", notes + " size=1000"}
	tests := []struct {
		name   string
		newer  archive
		takes  string // the hour
		passed string
	}{
		{"a job of PVE made it, or it was cut off before its note", archive{"05", ours, "dns", ""}, "02",
			"the archive of 22 Nov 05:00 is not verified (no size noted: it is not of this agent, or was cut off)"},
		{"ours without a size", archive{"05", ours, "dns", notes}, "02", "the archive of 22 Nov 05:00 is not verified (no size noted)"},
		{"ours with another size", archive{"05", ours, "dns", notes + " size=999"}, "02", "the archive of 22 Nov 05:00 is damaged"},
		{"another name", archive{"05", "", "mail", ""}, "02", "is of another guest (hostname mail) with this VMID"},
		{"the same name in another household", archive{"05", strings.Replace(ours, "pve1", "theirs", 1), "dns", ""}, "02",
			"is of another guest (dns of the owner theirs) with this VMID"},
		{"an older one that nobody recorded is no news", archive{"01", ours, "dns", ""}, "02", ""},
		{"a newer proven one", archive{"05", ours, "dns", notes + " size=1000"}, "05", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := &Observed{Owner: "pve1", Now: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC),
				Storages: map[string]*StorageState{"usb": {}}, Inside: map[string]Inside{}}
			for _, a := range []archive{proven, tt.newer} {
				made, err := time.Parse(time.DateTime, "2026-11-22 "+a.hour+":00:00")
				if err != nil {
					t.Fatal(err)
				}
				volid := fmt.Sprintf("usb:backup/vzdump-lxc-101-2026_11_22-%s_00_00.tar.zst", a.hour)
				have.Storages["usb"].Content = append(have.Storages["usb"].Content,
					proxmox.StorageContent{VolID: volid, Content: "backup", Subtype: "lxc", VMID: 101, CTime: made, Size: 1000, Notes: a.notes})
				have.Inside[volid] = Inside{Config: proxmox.GuestConfig{VMID: 101, Raw: map[string]string{"hostname": a.hostname, "description": a.inside}}}
			}
			have.Index(nil)
			dns := &spec.Guest{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindGuest, Name: "dns"}}, VMID: 101}
			got, passed, _ := NewestArchive(have, dns, spec.Source{Newest: "usb"})
			if got == nil || got.Volume.CTime.Format("15") != tt.takes {
				t.Fatalf("it takes %+v, not that of %s:00", got, tt.takes)
			}
			text := strings.Join(passed, "\n")
			if tt.passed == "" && text != "" || !strings.Contains(text, tt.passed) {
				t.Errorf("it says %q\nwant       %q", text, tt.passed)
			}
			if tt.passed != "" && !strings.Contains(text, "from: {archive: usb:backup/vzdump-lxc-101-2026_11_22-05_00_00.tar.zst}") {
				t.Errorf("it does not say how to take it: %q", text)
			}
		})
	}
}
