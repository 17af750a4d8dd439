package reconcile

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// What is done again because something was seen to change is no fight: a disk that is
// disconnected and connected five times within an hour, also after an eject, or an operator
// who edits to and fro. Somebody who unmounts the disk again and again is one.
func TestWhatWasSeenToChangeIsNoFight(t *testing.T) {
	const mounts = "node: pve1\nmounts:\n  backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}\n"
	const cores = "node: pve1\nguests:\n  dns: {vmid: 101, config: {cores: 1}}\n"
	for name, c := range map[string]struct {
		first, second string
		do            func(b *bench, edit func(second bool))
		fight         bool
	}{
		"disconnected": {mounts, mounts, func(b *bench, _ func(bool)) {
			b.sim.Unplug(blueDisk)
			time.Sleep(2 * time.Minute)
			b.sim.Plug(blueDisk)
		}, false},
		"ejected": {mounts, mounts, func(b *bench, _ func(bool)) {
			if said, err := b.eject(b.t.Context(), mounts, "backup"); err != nil {
				b.t.Error(said, err)
			}
			time.Sleep(time.Minute)
			b.sim.Unplug(blueDisk)
			time.Sleep(time.Minute)
			b.sim.Plug(blueDisk)
		}, false},
		"edited": {cores, strings.Replace(cores, "cores: 1", "cores: 2", 1), func(_ *bench, edit func(bool)) {
			edit(true)
			time.Sleep(2 * time.Minute)
			edit(false)
		}, false},
		"unmounted": {mounts, mounts, func(b *bench, _ func(bool)) {
			if said, err := b.sim.Shell("pve1", "umount /mnt/usb/backup"); err != nil && b.mounted("/mnt/usb/backup") {
				b.t.Error(said, err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := desired(t, c.first), desired(t, c.second)
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				var last atomic.Pointer[Plan]
				var now atomic.Pointer[spec.Desired]
				now.Store(first)
				stop := b.watch(time.Minute, now.Load, func(p *Plan, _ time.Duration, _ error) { last.Store(p) })
				for range 5 {
					time.Sleep(5 * time.Minute)
					c.do(b, func(other bool) {
						now.Store(map[bool]*spec.Desired{false: first, true: second}[other])
						b.agent.Nudge()
					})
				}
				time.Sleep(5 * time.Minute)
				stop()
				fight := false
				for _, h := range last.Load().Blocked {
					fight = fight || strings.Contains(h.Reason, "something moves it back")
				}
				if fight != c.fight {
					t.Errorf("a fight: %t\n%+v\n%s", fight, last.Load().Blocked, b.events)
				}
			})
		})
	}
}
