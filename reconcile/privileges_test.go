package reconcile

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// refusals counts the requests that PVE refuses for a missing privilege.
type refusals struct {
	http.RoundTripper
	reads, writes atomic.Int64
	last          atomic.Value
}

func (r *refusals) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := r.RoundTripper.RoundTrip(req)
	if err == nil && answer.StatusCode == http.StatusForbidden {
		r.last.Store(req.Method + " " + req.URL.Path + ": " + answer.Status)
		if req.Method == http.MethodGet {
			r.reads.Add(1)
		} else {
			r.writes.Add(1)
		}
	}
	return answer, err
}

// allKinds needs each of the 16 privileges.
const allKinds = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
golden:
  debian:
    vmid: 9000
    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
    rootfs: {storage: local-lvm, size: 8G}
    publish: {storage: local, revision: 1}
restores:
  web:
    vmid: 201
    from: [{newest: usb-backup}, {golden: debian}]
    storage: local-lvm
    config: {cores: 2, memory: 512MiB, onboot: true, net0: {name: eth0, bridge: vmbr0, ip: dhcp}}
    state: running
snapshots:
  hourly: {guest: web, every: 1h, keep: 3}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: 1}
`

// unneeded are those without which this desired state converges: a rollback is allowed by VM.Snapshot too (PVE:
// API2/LXC/Snapshot.pm), and no pool is declared.
var unneeded = map[string]bool{"VM.Snapshot.Rollback": true, "Pool.Audit": true}

// role16 are the privileges that --print-setup gives.
var role16 = []string{
	"Datastore.AllocateSpace", "Datastore.Audit", "Pool.Audit", "SDN.Use", "Sys.Audit", "VM.Allocate", "VM.Audit", "VM.Backup",
	"VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
}

// Each privilege that is taken from the token is named by the plan, before anything is sent; and no write is refused.
func TestEachPrivilegeIsNamedBeforehand(t *testing.T) {
	for _, privilege := range role16 {
		t.Run(privilege, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { namedBeforehand(t, pvesim.New(), allKinds, privilege) })
		})
	}
}

// vmKinds needs each privilege that VMs need, where hass has a mapped device; no container does.
const vmKinds = `mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
guests:
  hass:
    vmid: 105
    type: vm
    from: {newest: usb-backup}
    storage: local-lvm
    state: running
    restart: auto
    config: {cores: 2, memory: 2GiB, net0: {bridge: vmbr0}, agent: true, scsi0: {size: 33G}}
snapshots:
  hourly: {guest: hass, every: 1h, keep: 3}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: 1}
`

// A household with VMs after the fire: Mapping.Use is one of those that the restore needs; the
// simulator asks for them as PVE's sources do.
func TestEachPrivilegeOfVMsIsNamedBeforehandAssumedFromPVEsSources(t *testing.T) {
	for _, privilege := range append([]string{"Mapping.Use"}, role16...) {
		t.Run(privilege, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.as("PUT", "/access/roles/FelhomAgent", "append=1", "privs=Mapping.Use")
				b.twoVMs()
				b.as("PUT", "/nodes/pve1/qemu/105/config", "usb0=mapping=stick", "rng0=source=/dev/hwrng")
				if r := b.once(desired(t, vmKinds)); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				if privilege == "Mapping.Use" { // while the VM lives, a note says what its restore would lack
					b.as("PUT", "/access/roles/FelhomAgent", "privs="+strings.Join(role16, ","))
					if _, text := b.plan(desired(t, vmKinds)); !strings.Contains(text, "lost, its restore would be blocked: the token felhom@pve!agent lacks Mapping.Use on /mapping/") {
						t.Errorf("the plan says\n%s", text)
					}
					b.as("PUT", "/access/roles/FelhomAgent", "append=1", "privs=Mapping.Use")
				}
				b.sim.Reinstall()
				namedBeforehand(t, b.sim, vmKinds, privilege)
			})
		})
	}
}

// A VM without mapped devices is restored by a token with the 16 alone.
func TestTheRoleOf16RestoresPlainVMsAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		b.once(desired(t, vmKinds))
		b.sim.Reinstall()
		again := newBench(t, b.sim)
		if r := again.once(desired(t, vmKinds)); r.ExitCode() != 0 || reconciletest.Parse(b.sim.String()).Guests[105] == nil {
			t.Error(again.closing(r))
		}
	})
}

// namedBeforehand converges a node whose token lacks a privilege.
func namedBeforehand(t *testing.T, sim *pvesim.Sim, yaml, privilege string) {
	t.Helper()
	want := desired(t, yaml)
	world, err := sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(world), "\n")
	var kept []string
	for _, line := range lines {
		if strings.TrimSpace(line) != "- "+privilege {
			kept = append(kept, line)
		}
	}
	if len(kept) == len(lines) {
		t.Fatal("the role does not have it")
	}
	if sim, err = pvesim.Load([]byte(strings.Join(kept, "\n"))); err != nil {
		t.Fatal(err)
	}
	watched := &refusals{RoundTripper: sim}
	b := newBench(t, sim, func(o *Options) {
		token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if err != nil {
			t.Fatal(err)
		}
		if o.Client, err = proxmox.New(proxmox.Options{Transport: watched, Token: token}); err != nil {
			t.Fatal(err)
		}
	})
	b.client = b.agent.O.Client
	source := b.agent.O.Source
	source.View = b.client.Read()
	p, err := Preview(t.Context(), source, want, b.journal)
	text := fmt.Sprint(err) // without Sys.Audit there is no plan
	if err == nil {
		text = reconciletest.PlanText(p)
	}
	report, err := b.agent.Once(t.Context(), want)
	if n := watched.writes.Load(); n > 0 {
		t.Errorf("%d writes are refused, the last: %v", n, watched.last.Load())
	}
	switch {
	case unneeded[privilege]:
		if err != nil || report.ExitCode() != 0 {
			t.Errorf("without it the run does not converge: %v\n%s", err, b.events)
		}
	case !strings.Contains(text, privilege):
		t.Errorf("the plan does not name it:\n%s", text)
	}
}
