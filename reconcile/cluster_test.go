package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
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
		sim := reconciletest.TwoNodes(t, false)
		b := newBench(t, sim)
		plan, got := b.plan(desired(t, text))
		for _, want := range []string{
			"! mounts/backup         this is a cluster of 2 nodes (pve1, pve2), and nothing says on which of them it must be",
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
