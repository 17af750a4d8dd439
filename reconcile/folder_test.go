package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A folder that is missing keeps a new guest from being bound and from being started; it is told once.
func TestAMissingFolderIsToldOnce(t *testing.T) {
	want := desired(t, `mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
  media: {uuid: `+mediaDisk+`, path: /mnt/usb/media}
golden:
  alpine: {vmid: 9001, template: "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", rootfs: "local-lvm:2", publish: {storage: local, revision: 1}}
restores:
  cleo: {vmid: 150, storage: local-lvm, state: running, from: {golden: alpine}, config: {mp0: {mount: media, folder: nothere, mp: /media}}}
`)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		r := b.once(want)
		if text := b.closing(r); r.ExitCode() != 3 || strings.Count(text, "there is no folder nothere on mounts/media") != 1 {
			t.Errorf("exit code %d\n%s", r.ExitCode(), text)
		}
	})
}
