package reconcile

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The node boots, and a disk comes later than PVE starts the guests. Nothing is written below the mount point: either PVE cannot start the guest, and the
// agent does when the disk is there, or the agent sees that the guest runs on another folder, and says so or restarts it.
func TestADiskThatComesAfterTheBoot(t *testing.T) {
	const start = `node: pve1
mounts:
  media: {uuid: ` + mediaDisk + `, path: /mnt/usb/media}
guests:
  dns: {vmid: 101, drift: heal, state: running, config: {onboot: true, mp0: {mount: media, folder: library, mp: /media}}`
	for name, c := range map[string]struct {
		yaml   string
		folder bool // somebody made the folder below the mount point, on a root that cannot seal it
		says   string
	}{
		"the guest could not start":                 {"}\n", false, ""},
		"the guest started without it":              {"}\n", true, "its /media is not the disk that is mounted now: the guest started before it was mounted"},
		"the guest started without it, may restart": {", restart: auto}\n", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, start+c.yaml)
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				if c.folder {
					const root = "target: /\n        fs: "
					sim = reconciletest.Reborn(t, sim, root+"ext4\n", root+"zfs\n")
				}
				b := newBench(t, sim)
				b.once(want)
				if out, err := b.sim.Shell("pve1", "pct reboot 101"); err != nil { // for the new mount point
					t.Fatal(out, err)
				}
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatalf("%s\n%s", b.events, b.closing(r))
				}
				b.sim.Unplug(mediaDisk)
				if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/status", map[string]string{"command": "shutdown"}); status != 200 {
					t.Fatalf("%d %s", status, body)
				}
				if c.folder {
					if out, err := b.sim.Shell("pve1", "mkdir -p /mnt/usb/media/library"); err != nil {
						t.Fatal(out, err)
					}
				}
				if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/status", map[string]string{"command": "reboot"}); status != 200 {
					t.Fatalf("%d %s", status, body)
				}
				time.Sleep(5 * time.Minute)
				if status, _ := b.sim.Shell("pve1", "pct status 101"); strings.Contains(status, "running") != c.folder {
					t.Fatalf("after the boot: %s", status)
				}
				b.sim.Plug(mediaDisk)
				if c.folder { // within the five minutes, systemd mounts it by its line
					if out, err := b.sim.Shell("pve1", "mount /mnt/usb/media"); err != nil {
						t.Fatal(out, err)
					}
				}
				r := b.once(want)
				if !b.mounted("/mnt/usb/media") {
					t.Errorf("not mounted:\n%s", b.closing(r))
				}
				if c.says != "" {
					if text := b.closing(r); r.ExitCode() != 3 || !strings.Contains(text, c.says) || !strings.Contains(text, "pct reboot 101") {
						t.Errorf("exit code %d\n%s", r.ExitCode(), text)
					}
					if out, err := b.sim.Shell("pve1", "pct reboot 101"); err != nil {
						t.Fatal(out, err)
					}
					r = b.once(want)
				}
				if r.ExitCode() != 0 {
					t.Errorf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				pid, err := b.sim.Shell("pve1", "lxc-info -n 101 -p -H")
				if err != nil {
					t.Fatal(pid, err)
				}
				process, err := strconv.Atoi(strings.TrimSpace(pid))
				if err != nil {
					t.Fatal(err)
				}
				guest, host := deviceAt(t, b, process, "/media"), deviceAt(t, b, 1, "/mnt/usb/media")
				if guest == "" || guest != host {
					t.Errorf("the guest has the device %q, the host %q", guest, host)
				}
			})
		})
	}
}

// deviceAt is the number of the device that a process sees at a path; "" for none.
func deviceAt(t *testing.T, b *bench, process int, at string) string {
	t.Helper()
	table, err := b.sim.Host("pve1").MountInfo(process)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == at {
			return f[2]
		}
	}
	return ""
}
