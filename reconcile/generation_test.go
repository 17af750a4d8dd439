package reconcile

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

const householdYAML = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}, state: running}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: 2}
`

// otherHouse changes the notes of the archives of some days: another life, or another host.
func otherHouse(t *testing.T, b *bench, days []int, old, with string) {
	t.Helper()
	for _, id := range archiveIDs(t, b) {
		for _, day := range days {
			if !strings.Contains(id, fmt.Sprintf("2026_11_%02d", day)) {
				continue
			}
			_, name, _ := strings.Cut(id, ":")
			_, body := b.sim.Do("root@pam", "GET", "/nodes/pve1/storage/usb-backup/content/"+name, nil)
			notes := regexp.MustCompile(`felhom-agent/1 [^"\\]*`).FindString(body)
			if notes == "" {
				continue
			}
			changed := regexp.MustCompile(old).ReplaceAllString(notes, with)
			if status, body := b.sim.Do("root@pam", "PUT", "/nodes/pve1/storage/usb-backup/content/"+name, map[string]string{"notes": changed}); status != 200 {
				t.Fatal(status, body)
			}
		}
	}
}

// Two hosts of one name with one VMID back up to one storage: their archives alternate. Nothing
// is restored or deleted before a line decides which of the two guests is meant.
func TestTwoHouseholdsUnderOneName(t *testing.T) {
	for name, c := range map[string]struct {
		days      []int // whose archives are of the other household
		old, with string
		two       bool
	}{
		"another life, in turns":     {[]int{23, 25}, `born=\S+`, "born=2026-11-01T09:00:00Z", true},
		"another host, in turns":     {[]int{23, 25}, `host=\S+`, "host=attic", true},
		"another life, and then not": {[]int{22, 23}, `born=\S+`, "born=2026-11-01T09:00:00Z", false},
		"another owner, in turns":    {[]int{23, 25}, `owner=\S+`, "owner=attic", false},
		"one household":              {nil, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				keepAll := desired(t, strings.Replace(householdYAML, ", keep: 2", "", 1))
				for range 4 { // of 22 to 25 November
					b.once(keepAll)
					time.Sleep(24*time.Hour + time.Minute)
				}
				otherHouse(t, b, c.days, c.old, c.with)
				before := archiveIDs(t, b)
				want := desired(t, householdYAML)
				plan, text := b.plan(want)
				if named := strings.Contains(text, "so they are of 2 guests: dns of owner pve1, host "); named != c.two {
					t.Errorf("two guests: %v, named: %v\n%s", c.two, named, text)
				}
				for _, a := range plan.Actions {
					if c.two && a.Symbol == "-" {
						t.Errorf("it would %s", a.Text)
					}
				}
				b.once(want)
				if c.two && len(archiveIDs(t, b)) < len(before) {
					t.Errorf("of %v there is left %v", before, archiveIDs(t, b))
				}
				b.sim.LoseConfig(101)
				dropVolumes(t, b, 101)
				fresh := newBench(t, b.sim)
				_, text = fresh.plan(want)
				if restores := strings.Contains(text, "create 101 from its backup"); restores == c.two {
					t.Errorf("two guests: %v, restored: %v\n%s", c.two, restores, text)
				}
				if !c.two {
					return
				}
				line := regexp.MustCompile(`from: \{archive: (\S+)\}`).FindAllStringSubmatch(text, -1)
				if len(line) < 2 {
					t.Fatalf("it does not say how to decide:\n%s", text)
				}
				for _, l := range line[:2] {
					decided := desired(t, strings.Replace(householdYAML, "{newest: usb-backup}", "[{newest: usb-backup}, {archive: '"+l[1]+"'}]", 1))
					if _, text := newBench(t, b.sim).plan(decided); !strings.Contains(text, "create 101 from") {
						t.Errorf("%s does not decide:\n%s", l[0], text)
					}
				}
			})
		})
	}
}

// dropVolumes frees what is left of a guest's volumes.
func dropVolumes(t *testing.T, b *bench, vmid int) {
	t.Helper()
	for _, id := range regexp.MustCompile(fmt.Sprintf(`local-lvm:(vm-%d-disk-\d+)`, vmid)).FindAllStringSubmatch(b.sim.String(), -1) {
		b.sim.Do("root@pam", "DELETE", "/nodes/pve1/storage/local-lvm/content/"+id[1], nil)
	}
	time.Sleep(time.Minute)
}
