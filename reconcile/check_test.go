package reconcile

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// The size note of the newest backup was lost with the disk that was pulled. After the fire its
// contents decide: whole, it comes back; damaged, the one before it does, and both say so.
func TestAfterTheFireTheContentsProveTheNewestBackup(t *testing.T) {
	for name, c := range map[string]struct {
		damaged, helper bool
		restores, says  string
	}{
		"its contents are whole":   {false, true, "22 Nov 20:1", ""},
		"its contents are damaged": {true, true, "22 Nov 18:0", "is damaged"},
		"nobody can read it":       {false, false, "22 Nov 18:0", "is not verified (no size noted)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := desired(t, strings.Replace(householdYAML, "every: 24h, keep: 2", "every: 1h", 1))
				b := newBench(t, pvesim.New())
				b.once(want)
				time.Sleep(2*time.Hour + 8*time.Minute)
				b.once(want)
				ids := archiveIDs(t, b)
				_, file, _ := strings.Cut(ids[len(ids)-1], ":")
				_, body := b.sim.Do("root@pam", "GET", "/nodes/pve1/storage/usb-backup/content/"+file, nil)
				notes := regexp.MustCompile(`felhom-agent/1 [^"\\]*`).FindString(body)
				bare := regexp.MustCompile(` (size|begun)=\S+`).ReplaceAllString(notes, "")
				if status, body := b.sim.Do("root@pam", "PUT", "/nodes/pve1/storage/usb-backup/content/"+file, map[string]string{"notes": bare}); status != 200 || bare == notes {
					t.Fatal(status, body, notes)
				}
				b.sim.Reinstall()
				sim := b.sim
				if c.damaged {
					world, err := sim.Save()
					if err != nil {
						t.Fatal(err)
					}
					cut := regexp.MustCompile(`(` + regexp.QuoteMeta(file) + `:\s+(?:vmid: 101\s+)?)size: (\d+)`)
					if !cut.Match(world) {
						t.Fatalf("no size of %s:\n%s", file, world)
					}
					indent := regexp.MustCompile(regexp.QuoteMeta(file) + `:(\s+)`).FindSubmatch(world)[1]
					if sim, err = pvesim.Load(cut.ReplaceAll(world, []byte("${1}size: ${2}"+string(indent)+"whole: 99999999999"))); err != nil {
						t.Fatal(err)
					}
				}
				fresh := newBench(t, sim, func(o *Options) {
					if !c.helper {
						o.Runner = nil
					}
				})
				if !c.helper { // somebody else mounts the disk
					for _, command := range []string{"mkdir -p /mnt/usb/backup", "mount UUID=" + blueDisk + " /mnt/usb/backup"} {
						if printed, err := sim.Shell("pve1", command); err != nil {
							t.Fatal(command, printed, err)
						}
					}
				} else {
					mounted := desired(t, strings.SplitN(householdYAML, "guests:", 2)[0])
					fresh.once(mounted)
				}
				plan, text := fresh.plan(want)
				if named := strings.Contains(text, "its contents are checked before an older one is restored (at most 30m0s)"); named != c.helper {
					t.Errorf("the plan says\n%s", text)
				}
				for _, a := range plan.Actions {
					if a.Verb == "restore" && c.helper {
						t.Errorf("a plan restores before it is known which: %s", a.Text)
					}
				}
				closing := fresh.closing(fresh.once(want))
				told := fresh.events.String() + closing
				if !restoredFrom(sim, c.restores) {
					t.Errorf("it should restore the backup of %s:\n%s\n%s", c.restores, told, sim)
				}
				if c.says != "" && !strings.Contains(told+text, c.says) {
					t.Errorf("it does not say %q:\n%s\n%s", c.says, told, text)
				}
			})
		})
	}
}

// restoredFrom reports whether a restore that ended read the archive of this time.
func restoredFrom(sim *pvesim.Sim, date string) bool {
	stamp := strings.NewReplacer("22 Nov ", "2026_11_22-", ":", "_").Replace(date)
	world, err := sim.Save()
	return err == nil && regexp.MustCompile(`recovering backed-up configuration from '\S*vzdump-lxc-101-`+stamp).Match(world)
}

// The disk may be pulled as soon as a run has ended: the notes that prove its backups are on it.
func TestTheProofOfABackupIsOnTheDiskWhenARunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		want := desired(t, householdYAML)
		b.once(want)
		b.sim.Unplug(blueDisk)
		b.sim.Plug(blueDisk)
		if !regexp.MustCompile(`vzdump-lxc-101-\S+ .*"felhom-agent/1 backups/daily [^"]* size=\d+"`).MatchString(b.sim.String()) {
			t.Errorf("the note was lost:\n%s", b.sim)
		}
	})
}
