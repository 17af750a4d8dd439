package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The token's rights are read anew where a guest is to be made: a right that was taken a
// moment ago hides backups and volumes, and what is hidden is not absent.
func TestRightsThatWereJustTakenMakeNoBlank(t *testing.T) {
	want := desired(t, `node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
golden:
  debian:
    vmid: 9000
    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
    rootfs: {storage: local-lvm, size: 8G}
    publish: {storage: local, revision: 1}
restores:
  web: {vmid: 201, from: [{newest: usb-backup}, {golden: debian}], storage: local-lvm}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h}
`)
	for name, change := range map[string][]string{
		"of the backups": {"path=/storage/usb-backup", "roles=PVEAuditor"},
		"of the guest":   {"path=/vms/201", "roles=PVEAuditor"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				b.sim.Advance(time.Hour)
				time.Sleep(2 * time.Minute)
				b.once(want) // all that is kept for a minute is new
				b.sim.LoseConfig(201)
				b.as("DELETE", "/nodes/pve1/storage/local-lvm/content/local-lvm:vm-201-disk-0") // only the backups are left
				b.as("PUT", "/access/acl", append(change, "tokens="+b.sim.TokenID())...)
				b.agent.O.Journal, b.agent.O.Store = MemoryJournal(), MemoryStore() // it was made by another
				report := b.once(want)
				if reconciletest.Parse(b.sim.String()).Guests[201] != nil {
					t.Errorf("a blank was made beside its backups\n%s\n%s", b.events, b.sim)
				}
				if text := b.closing(report); !strings.Contains(text, "blocked  restores/web      the token felhom@pve!agent lacks ") {
					t.Errorf("it says\n%s", text)
				}
			})
		})
	}
}

// A storage that a backup object names for a guest, and that is not to be seen at all, may
// hold the guest's backups: it does not exist yet on a node that was set up anew, or the
// token may not see it. No blank is made meanwhile.
func TestAStorageThatIsNotThereMayHoldData(t *testing.T) {
	want := desired(t, `node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
golden:
  debian:
    vmid: 9000
    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
    rootfs: {storage: local-lvm, size: 8G}
    publish: {storage: local, revision: 1}
restores:
  web: {vmid: 201, from: {golden: debian}, storage: local-lvm}
  bare: {vmid: 202, from: {golden: debian}, storage: local-lvm}
  shop: {vmid: 203, from: [{newest: usb-backup}, {golden: debian}], storage: local-lvm}
backups:
  daily: {guests: [web], storage: usb-backup, every: 24h}
`)
	for name, hide := range map[string]func(b *bench){
		"hidden": func(b *bench) {
			b.as("PUT", "/access/acl", "path=/storage/usb-backup", "roles=NoAccess", "tokens="+b.sim.TokenID())
		},
		"missing":  func(b *bench) { b.as("DELETE", "/storage/usb-backup") },
		"disabled": func(b *bench) { b.as("PUT", "/storage/usb-backup", "disable=1") },
		"for isos": func(b *bench) { b.as("PUT", "/storage/usb-backup", "content=iso") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.once(want)
				b.sim.Reinstall()
				hide(b)
				after := newBench(t, b.sim)
				report := after.once(want)
				world := reconciletest.Parse(b.sim.String())
				if world.Guests[201] != nil || world.Guests[202] == nil || world.Guests[203] != nil {
					t.Errorf("web exists: %t, bare, which nobody backs up: %t, shop: %t\n%s", world.Guests[201] != nil, world.Guests[202] != nil, world.Guests[203] != nil, after.events)
				}
				if text := after.closing(report); !strings.Contains(text, "blocked  restores/web      storage usb-backup ") || !strings.Contains(text, ": it may hold data of 201, so no empty guest is made") {
					t.Errorf("it says\n%s", text)
				}
			})
		})
	}
}
