package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// An object that has another name now, or stands under another section, has not left: nobody
// is told how its guest would be destroyed, and what was held stays held.
func TestWhatWasRenamedHasNotLeft(t *testing.T) {
	first := desired(t, "guests: {dns: {vmid: 101, state: running}}\nsnapshots: {old: {guest: dns, every: 1h, keep: 2}}\n")
	for name, text := range map[string]string{
		"renamed":         "guests: {ns: {vmid: 101, was: dns, state: running, is: dns}}\nsnapshots: {young: {was: old, guest: ns, every: 1h, keep: 2}}\n",
		"renamed quietly": "guests: {ns: {vmid: 101, state: running, is: dns}}\nsnapshots: {old: {guest: ns, every: 1h, keep: 2}}\n",
		"a restore":       "restores: {dns: {vmid: 101, from: {newest: local}, storage: local-lvm, state: running}}\nsnapshots: {old: {guest: dns, every: 1h, keep: 2}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			then := desired(t, text)
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(first); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				must(t, b.agent.O.Store.AddHold(Hold{Name: "guests/dns", Kind: HoldPerson, By: "anna", Since: b.sim.Now()}))
				before := len(b.journal.Order)
				b.events.Reset()
				report := b.once(then)
				if strings.Contains(b.events.String(), "pct destroy") || name == "renamed" && strings.Contains(b.events.String(), "no longer") {
					t.Errorf("it says\n%s", b.events)
				}
				if text := b.closing(report); name == "renamed" && (len(b.journal.Order) != before || !strings.Contains(text, "on hold by anna")) {
					t.Errorf("the hold was forgotten:\n%s\n%s", b.events, text)
				}
			})
		})
	}
}

// A series of several guests that has another name now, or of which a guest has, keeps its snapshots and the holds of each guest.
func TestARenamedSeriesOfSeveralGuestsHasNotLeft(t *testing.T) {
	const guests = "guests: {dns: {vmid: 101, config: {tags: [lan]}}}\n"
	const renamed = "guests: {ns: {vmid: 101, was: dns, is: dns, config: {tags: [lan]}}}\n"
	first := desired(t, guests+"snapshots: {old: {guests: 'tag:lan', every: 1h, keep: 2}}\n")
	for name, text := range map[string]string{
		"the series": guests + "snapshots: {young: {was: old, guests: all, every: 1h, keep: 2}}\n",
		"the guest":  renamed + "snapshots: {old: {guests: 'tag:lan', every: 1h, keep: 2}}\n",
		"both":       renamed + "snapshots: {young: {was: old, guests: [ns], every: 1h, keep: 2}}\n",
	} {
		then := desired(t, text)
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			if r := b.once(first); r.ExitCode() != 0 {
				t.Fatal(b.closing(r))
			}
			must(t, b.agent.O.Store.AddHold(Hold{Name: "snapshots/old/dns", Kind: HoldPerson, By: "anna", Since: b.sim.Now()}))
			b.sim.Advance(2 * time.Hour)
			b.events.Reset()
			report := b.once(then)
			if text := b.closing(report); strings.Contains(b.events.String(), "no longer") || !strings.Contains(text, "on hold by anna") {
				t.Errorf("%s: %s\n%s", name, b.events, text)
			}
		})
	}
}

// Of what was never managed nothing is said when it leaves the YAML: no line that destroys
// somebody else's guest, and none about a disk, a snapshot or a backup that never was.
func TestNothingIsSaidOfWhatWasNeverManaged(t *testing.T) {
	for name, text := range map[string]string{
		"a VMID that is taken":  "restores: {web: {vmid: 101, from: {newest: local}, storage: local-lvm}}\n",
		"another hostname":      "guests: {mail: {vmid: 101}}\n",
		"nothing there":         "restores: {web: {vmid: 250, from: {newest: local}, storage: local-lvm}}\nsnapshots: {old: {guest: web, every: 1h, keep: 2}}\nbackups: {daily: {storage: local, guests: [web], every: 24h}}\n",
		"a disk that is away":   "mounts: {gone: {uuid: 0b9a8c7d-1111-4222-8333-444455556666, path: /mnt/gone}}\n",
		"another agent's guest": "restores: {web: {vmid: 101, from: {newest: local}, storage: local-lvm}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			first, then := desired(t, text), desired(t, "restores: {other: {vmid: 260, from: {newest: local}, storage: local-lvm}}\n")
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if name == "another agent's guest" {
					b.as("PUT", "/nodes/pve1/lxc/101/config", "description=<!-- felhom-agent/1 web vmid=101 owner=pve9 born=2026-11-22T17:02:09Z -->")
				}
				b.once(first)
				b.events.Reset()
				b.once(then)
				if said := b.events.String(); strings.Contains(said, "pct destroy") || strings.Contains(said, "no longer") {
					t.Errorf("it says\n%s", said)
				}
			})
		})
	}
}

// A managed guest that leaves the YAML is named with the line that would delete it also
// after its VMID was corrected to another one's.
func TestAForeignVMIDIsNotOfferedForDeletion(t *testing.T) {
	first := desired(t, "guests: {dns: {vmid: 101}}\n")
	mistyped := desired(t, "guests: {dns: {vmid: 102}}\n")
	then := desired(t, "restores: {other: {vmid: 260, from: {newest: local}, storage: local-lvm}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.as("POST", "/nodes/pve1/lxc", "vmid=102", "hostname=dns", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs=local-lvm:1", "unprivileged=1",
			"description=<!-- felhom-agent/1 dns vmid=102 owner=pve9 born=2026-11-22T17:02:09Z -->")
		b.once(first)
		b.once(mistyped)
		b.events.Reset()
		b.once(then)
		if said := b.events.String(); strings.Contains(said, "pct destroy") || strings.Count(said, "guests/dns           leave") != 1 {
			t.Errorf("it says\n%s", said)
		}
	})
}
