package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// In a cluster every node's agent reads the same files: each acts only on what is its
// own, and nothing is made that does not say where.
func TestAClusterSharesOneDesiredState(t *testing.T) {
	const text = `
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup}
guests:
  dns: {vmid: 101, state: running}
  far: {vmid: 150, state: running}
restores:
  new: {vmid: 201, from: {newest: usb-backup}, storage: local-lvm}
`
	synctest.Test(t, func(t *testing.T) {
		sim := twoNodes(t, false)
		b := newBench(t, sim)
		plan, got := b.plan(desired(t, text))
		for _, want := range []string{
			"! mounts/backup         this is a cluster of 2 nodes (pve1, pve2), and nothing says on which of them it is to be",
			"! restores/new          as mounts/backup (desired.yaml:",
			"~ guests/dns",
			"elsewhere: guests/far on pve2.",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the plan does not say %q:\n%s", want, got)
			}
		}
		if len(plan.Actions) != 1 {
			t.Errorf("%d actions, want 1:\n%s", len(plan.Actions), got)
		}
	})
}

// twoNodes is a fresh node beside another one that has a guest, and that may be dead.
func twoNodes(t testing.TB, down bool) *pvesim.Sim {
	dead := ""
	if down {
		dead = "\n    down: true"
	}
	return reborn(t, pvesim.New(), "guests:\n  - vmid: 101\n", `  - name: pve2`+dead+`
    zone: Europe/Budapest
    boot: 1793638929
    ip: 192.0.2.12
    cpus: 4
    disks:
      - uuid: b7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d22
        fs: ext4
        device: /dev/sda2
        size: 500000000000
    mounts:
      - device: /dev/sda2
        uuid: b7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d22
        target: /
        fs: ext4
        options: rw,relatime
guests:
  - vmid: 150
    node: pve2
    config: |
      arch: amd64
      hostname: far
      memory: 512
      ostype: debian
      unprivileged: 1
  - vmid: 101
`)
}
