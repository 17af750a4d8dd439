package pvesim

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A mount that a line in /etc/fstab describes ends when its disk goes: systemd binds it to the device (systemd.mount(5), AUTOMATIC DEPENDENCIES and
// x-systemd.device-bound). It does not end while something writes there, nor where no line describes it, and it does not come back by itself.
func TestSystemdUnmountsAPulledDiskOfTheFstab(t *testing.T) {
	const line = "UUID=" + world.MediaUUID + " /mnt/usb/media ext4 nofail 0 0\n"
	for name, c := range map[string]struct {
		fstab string
		want  bool // still mounted
	}{
		"of the fstab":           {line, false},
		"by its label":           {"LABEL=media /mnt/usb/media ext4 nofail 0 0\n", false},
		"of no line":             {"", true},
		"of another path's line": {"UUID=" + world.MediaUUID + " /mnt/elsewhere ext4 nofail 0 0\n", true},
		"of another disk's line": {"UUID=" + world.BlueUUID + " /mnt/usb/media ext4 nofail 0 0\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t, func(t *testing.T, s *Sim, c2 *client) {
				h := s.Host("pve1")
				old, _ := h.ReadFile("/etc/fstab")
				if err := h.ReplaceFile("/etc/fstab", old, append(old, c.fstab...)); err != nil {
					t.Fatal(err)
				}
				for _, line := range []string{"mkdir -p /mnt/usb/media", "mount /dev/sdc1 /mnt/usb/media"} {
					if out, err := s.Shell("pve1", line); err != nil {
						t.Fatal(out, err)
					}
				}
				s.Unplug(world.MediaUUID)
				table, err := h.MountInfo(1)
				if err != nil || strings.Contains(string(table), " /mnt/usb/media ") != c.want {
					t.Errorf("pulled: %v\n%s", err, table)
				}
				s.Plug(world.MediaUUID)
				time.Sleep(time.Minute)
				if table, err = h.MountInfo(1); err != nil || strings.Contains(string(table), " /mnt/usb/media ") != c.want {
					t.Errorf("connected again: %v\n%s", err, table)
				}
			})
		})
	}
}
