package reconcile

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A token that is not accepted any more costs one request per five minutes, however
// often somebody nudges; accepted again, everything goes on by itself.
func TestWatchAsksSeldomWithARefusedToken(t *testing.T) {
	want := desired(t, "guests:\n  dns: {vmid: 101, config: {memory: 512MiB}, state: running}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		var good, refused atomic.Int64
		stop := b.watch(time.Minute, always(want), func(p *Plan, _ time.Duration, err error) {
			switch {
			case p != nil:
				good.Add(1)
			case proxmox.IsUnauthorized(err):
				refused.Add(1)
			}
		})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if good.Load() == 0 {
			t.Fatal("it does not work at first")
		}
		b.as("PUT", "/access/users/felhom@pve", "enable=0")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before := b.sim.Requests()
		for range 3600 {
			b.agent.Nudge()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := b.sim.Requests() - before; n > 12 || n < 10 {
			t.Errorf("%d requests in an hour", n)
		}
		if refused.Load() == 0 {
			t.Error("nobody was told")
		}
		b.as("PUT", "/access/users/felhom@pve", "enable=1")
		good.Store(0)
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if good.Load() == 0 {
			t.Error("it does not go on")
		}
		stop()
	})
}

// PVE leaves a path on which the token has nothing out of its list of privileges, and
// what the token may not see out of every other list. Neither makes a blank guest where
// archives of it lie.
func TestNoBlankWhereTheTokenIsShutOut(t *testing.T) {
	want := desired(t, `
node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
golden:
  alpine:
    vmid: 9001
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: {storage: local-lvm, size: 2G}
    config: {memory: 256, net0: {bridge: vmbr0, ip: dhcp}}
    publish: {storage: local, revision: 1}
restores:
  web:
    vmid: 250
    from: {golden: alpine}
    storage: local-lvm
    config: {net0: {bridge: vmbr0, ip: dhcp}}
`)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.as("POST", "/nodes/pve1/lxc/101/status/stop")
		b.as("POST", "/nodes/pve1/lxc/101/clone", "newid=250")
		b.as("POST", "/nodes/pve1/vzdump", "vmid=250", "storage=usb-backup")
		b.sim.LoseConfig(250)
		b.as("PUT", "/access/acl", "path=/vms/250", "roles=NoAccess", "tokens=felhom@pve!agent")
		report := b.once(want)
		text := b.closing(report)
		if report.ExitCode() != 3 || !strings.Contains(text, "the token felhom@pve!agent lacks VM.Audit on /vms/250: an ACL entry on /vms/250 replaces the one on /") {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, text)
		}
	})
}
