package reconcile

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/plan"
)

// While something is blocked its plan stays the same, byte for byte, for as long as nothing
// changes: no reason and no fix has the present time in it. Who reads a plan every quarter
// of an hour sees at once whether there is anything new.
func TestBlockedPlansAreByteEqual(t *testing.T) {
	const mount = "mounts: {backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}}\n"
	const golden = "golden: {debian: {vmid: 9000, template: 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst', rootfs: {storage: local-lvm, size: 8G}, publish: {storage: local, revision: 1}}}\n"
	const web = "restores: {web: {vmid: 201, from: [{newest: usb-backup}, {golden: debian}], storage: local-lvm}}\n"
	guest := func(rollback string) string {
		return "guests: {dns: {vmid: 101, rollback: {to: before, requested: " + rollback + "}}}\n"
	}
	disk := desired(t, mount)
	for name, c := range map[string]struct {
		before, yaml, says string
		prepare            func(b *bench)
	}{
		"an expired rollback":     {"guests: {dns: {vmid: 101}}", guest("2026-11-20T10:00:00Z"), "is older than a day", nil},
		"a rollback to come":      {"guests: {dns: {vmid: 101}}", guest("2026-12-20T10:00:00Z"), "is in the future", nil},
		"a rollback without zone": {"guests: {dns: {vmid: 101}}", guest("2026-11-22T18:00:00"), "--print-rollback guests/dns/before", nil},
		"a disk that is away":     {"", mount + golden + web, "As mounts/backup", func(b *bench) { b.sim.Unplug(blueDisk) }},
		"a backup without a guest": {"", mount + golden + "restores: {web: {vmid: 101, from: {golden: debian}, storage: local-lvm}}\n", "despite: TIME", func(b *bench) {
			b.once(disk)
			b.sim.LoseConfig(101)
			b.sim.Shell("pve1", "lvremove -f pve/vm-101-disk-0")
		}},
		"a volume without a guest": {"", mount + golden + "restores: {web: {vmid: 101, from: {golden: debian}, storage: local-lvm}}\n", "despite: TIME", func(b *bench) { b.sim.LoseConfig(101) }},
		"a copy": {"", "restores: {web: {vmid: 101, from: {newest: local}, storage: local-lvm}}\n", "is a copy", func(b *bench) {
			b.as("PUT", "/nodes/pve1/lxc/101/config", "description=<!-- felhom-agent/1 web vmid=102 owner=pve1 born=2026-11-22T17:02:09Z -->")
		}},
		"another owner": {"", "restores: {dns: {vmid: 101, from: {newest: local}, storage: local-lvm}}\n", "of another owner", func(b *bench) {
			b.as("PUT", "/nodes/pve1/lxc/101/config", "description=<!-- felhom-agent/1 dns vmid=101 owner=pve9 born=2026-11-22T17:02:09Z -->")
		}},
		"a lost marker": {mount + "guests: {dns: {vmid: 101}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 400d}}\n", mount + "guests: {dns: {vmid: 101}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 400d}}\n", "the ownership marker of 101 is missing", func(b *bench) { b.as("PUT", "/nodes/pve1/lxc/101/config", "description=mine") }},
		"an archive of the future": {mount + "guests: {dns: {vmid: 101, from: {newest: usb-backup}}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 400d}}\n", mount + "guests: {dns: {vmid: 101, from: {newest: usb-backup}}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 400d}}\n", "which is in the future", func(b *bench) {
			b.sim.LoseConfig(101)
			b.sim.Shell("pve1", "lvremove -f pve/vm-101-disk-0")
			b.sim.StepClock(-8 * time.Hour)
			b.agent.O.Journal = MemoryJournal()
		}},
		"a stale lock":        {"", "guests: {dns: {vmid: 101}}\n", "pct unlock 101", func(b *bench) { b.sim.Shell("pve1", "pct set 101 --lock backup") }},
		"a backup that waits": {mount + "guests: {dns: {vmid: 101}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 1h, warn-after: 2h}}\n", mount + "guests: {dns: {vmid: 101}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 1h, warn-after: 2h}}\n", "guests/dns is locked (mounted)", func(b *bench) { b.sim.Shell("pve1", "pct set 101 --lock mounted"); b.sim.Advance(30 * time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			first, want := desired(t, "node: pve1\n"+orElse(c.before, "guests: {none: {vmid: 999}}\n")), desired(t, "node: pve1\n"+c.yaml)
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if c.before != "" {
					b.once(first)
				}
				if c.prepare != nil {
					c.prepare(b)
				}
				b.once(want)
				b.sim.Advance(time.Minute)
				now, text := b.plan(want)
				if len(now.Blocked) == 0 || !strings.Contains(text, c.says) || strings.Contains(text, "; :") {
					t.Fatalf("it is not blocked by %q:\n%s", c.says, text)
				}
				for _, later := range []time.Duration{time.Second, time.Minute, time.Hour} {
					b.sim.Advance(later)
					then, _ := b.plan(want)
					if a, z := heldText(t, now), heldText(t, then); a != z {
						t.Errorf("%s later\n%s\nis\n%s", later, a, z)
					}
				}
			})
		})
	}
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// heldText is all of a plan but when it was made and when the next thing is due.
func heldText(t *testing.T, p *plan.Plan) string {
	t.Helper()
	copied := *p
	copied.Header.Refreshed, copied.Due, copied.Header.Requests = time.Time{}, time.Time{}, 0
	data, err := json.MarshalIndent(copied, "", " ")
	must(t, err)
	return string(data)
}
