package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/text"
)

const twiceYAML = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, state: running}
snapshots:
  hourly: {guest: dns, every: 1h, keep: 2}
backups:
  daily: {guests: all, storage: usb-backup, every: 1h, keep: {hourly: 2}}
`

// lived lets a household live for some hours, so that there are archives and snapshots of it.
func lived(t *testing.T, yaml string, hours int) *bench {
	t.Helper()
	b := newBench(t, pvesim.New())
	want := desired(t, yaml)
	for range hours {
		b.once(want)
		time.Sleep(61 * time.Minute)
	}
	return b
}

func archiveIDs(t *testing.T, b *bench) (ids []string) {
	t.Helper()
	content, err := b.client.StorageContent(t.Context(), "pve1", "usb-backup", proxmox.ContentFilter{Content: "backup"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range content {
		ids = append(ids, v.VolID)
	}
	return ids
}

// A list that names everything twice leads to the same plan as one that names it once:
// nothing more is deleted, started or made.
func TestListsThatRepeatThemselvesChangeNoPlan(t *testing.T) {
	for _, match := range []string{"GET */storage/usb-backup/content", "GET */snapshot", "GET */lxc", "GET /cluster/resources", "GET */storage", "GET */tasks", "GET */pending", "GET *"} {
		t.Run(match, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lived(t, twiceYAML, 2)
				want := desired(t, twiceYAML)
				before, once := b.plan(want)
				if err := b.sim.Inject(pvesim.Fault{Match: match, Times: -1, Effect: "twice"}); err != nil {
					t.Fatal(err)
				}
				after, twice := b.plan(want)
				if once != twice {
					t.Errorf("once:\n%s\ntwice:\n%s", once, twice)
				}
				if len(before.Actions) != len(after.Actions) {
					t.Errorf("%d actions, and with lists that repeat themselves %d", len(before.Actions), len(after.Actions))
				}
			})
		})
	}
}

// Where two entries of one thing differ, what rests on it is blocked, and says so.
func TestListsThatContradictThemselvesBlock(t *testing.T) {
	for _, c := range []struct{ match, change, object, says string }{
		{"GET */storage/usb-backup/content", "ctime=1763000000", "backups/daily", "lists the archive usb-backup:backup/vzdump-lxc-101-"},
		{"GET */storage/usb-backup/content", "size=1", "backups/daily", "twice, with different values"},
		{"GET */storage/usb-backup/content", "protected=1", "", ""}, // no archive has the key
		{"GET */snapshot", "snaptime=1763000000", "snapshots/hourly", "PVE lists the snapshot hourly_"},
		{"GET /nodes/pve1/lxc", "status=stopped", "guests/dns", "names it twice"},
		{"GET /cluster/resources", "node=pve2", "guests/dns", "PVE lists several guests with it"},
		{"GET /nodes/pve1/storage", "avail=5", "backups/daily", "storage usb-backup is not used"},
		{"GET */pending", "value=5", "guests/dns", "it names the key"},
	} {
		t.Run(c.match+" "+c.change, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lived(t, twiceYAML, 3)
				want := desired(t, twiceYAML)
				before, _ := b.plan(want)
				if len(before.Actions) == 0 {
					t.Fatal("nothing is due")
				}
				archives := strings.Join(archiveIDs(t, b), "\n")
				if err := b.sim.Inject(pvesim.Fault{Match: c.match, Times: -1, Effect: "twice", Text: c.change}); err != nil {
					t.Fatal(err)
				}
				plan, text := b.plan(want)
				held := false
				for _, h := range plan.Blocked {
					held = held || h.Object.String() == c.object && strings.Contains(h.Reason, c.says) && len(h.Fix) > 0
				}
				if held != (c.object != "") {
					t.Errorf("%s should be blocked with %q:\n%s", c.object, c.says, text)
				}
				if c.object == "" {
					return
				}
				for _, a := range plan.Actions {
					if a.Object.String() == c.object {
						t.Errorf("yet %s\n%s", a.Said(), text)
					}
				}
				b.once(want)
				b.sim.Heal()
				for id := range strings.SplitSeq(archives, "\n") {
					if c.object == "backups/daily" && !strings.Contains(strings.Join(archiveIDs(t, b), "\n"), id) {
						t.Errorf("%s is gone", id)
					}
				}
			})
		})
	}
}

// An archive that the YAML names through one storage is not deleted through another that has
// the same folder, and it is counted once.
func TestAnArchiveThroughTwoStorages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lived(t, twiceYAML, 2)
		oldest := archiveIDs(t, b)[0]
		if status, body := b.sim.Do("root@pam", "POST", "/storage", map[string]string{"storage": "usb-again", "type": "dir", "path": "/mnt/usb/backup",
			"content": "backup", "is_mountpoint": "yes", "prune-backups": "keep-all=1"}); status != 200 {
			t.Fatal(status, body)
		}
		named := strings.Replace(oldest, "usb-backup:", "usb-again:", 1)
		want := desired(t, strings.Replace(twiceYAML, "vmid: 101,", "vmid: 101, from: {archive: '"+named+"'},", 1))
		for range 4 {
			time.Sleep(61 * time.Minute)
			b.once(want)
		}
		if ids := archiveIDs(t, b); len(ids) == 0 || ids[0] != oldest {
			t.Errorf("%s is gone, and `from` names it as %s: %v", oldest, named, ids)
		}
		b.sim.LoseConfig(101)
		_, s := b.plan(desired(t, strings.Replace(twiceYAML, "vmid: 101,", "vmid: 101, from: {golden: g},", 1)+`golden:
  g: {vmid: 9000, template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", rootfs: {storage: local-lvm, size: 8G}, publish: {storage: usb-backup, revision: 1}}
`))
		if n := len(archiveIDs(t, b)); !strings.Contains(s, text.Count(n, "backup", "backups")+" of it exist") {
			t.Errorf("there are %d archives:\n%s", n, s)
		}
	})
}
