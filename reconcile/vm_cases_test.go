package reconcile

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

const justVMs = `guests:
  hass: {vmid: 105, type: vm}
  router: {vmid: 106, type: vm}
`

// Where the YAML does not say that a guest is a VM, its type is found where the VMID exists: it is
// adopted, changed, backed up and watched for HA as if it said so, and costs the same. One that is
// shut down needs no restart for what is changed.
func TestTheTypeOfAVMIsFoundByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		const house = "guests:\n  dns: {vmid: 101}\n  hass: {vmid: 105, config: {cores: 3}, state: stopped}\n  router: {vmid: 106, type: vm}\nbackups:\n  nightly: {guests: all, storage: local, every: 24h}\n"
		plan, text := b.plan(desired(t, house))
		said, _ := b.plan(desired(t, strings.Replace(house, "vmid: 105", "type: vm, vmid: 105", 1)))
		if plan.Header.Requests != said.Header.Requests || !strings.Contains(text, "adopt 105 (hass)") || len(plan.Blocked) != 0 {
			t.Errorf("%d requests, %d where it says so\n%s", plan.Header.Requests, said.Header.Requests, text)
		}
		if r := b.once(desired(t, house)); r.ExitCode() != 0 || b.vmConfig(105)["cores"] != "3" || !strings.Contains(b.sim.String(), "vzdump-qemu-105-") {
			t.Errorf("%s\n%s", b.closing(r), b.events)
		}
		if plan, text := b.plan(desired(t, house)); len(plan.Actions)+len(plan.Blocked) != 0 {
			t.Errorf("not converged:\n%s", text)
		}
		managed := newBench(t, reconciletest.Reborn(t, b.sim, "vmid: 105\n    node: pve1\n", "vmid: 105\n    node: pve1\n    ha: started\n"))
		if _, text := managed.plan(desired(t, house)); !strings.Contains(text, "VM 105 is managed by HA") {
			t.Errorf("under HA the plan is\n%s", text)
		}
	})
}

// A rollback of a VM takes its disks and its config back. The Notes stay, and with them the
// ownership marker: PVE keeps the description and unused volumes of what it rolls back (PVE:
// AbstractConfig, __snapshot_apply_config), for VMs as for containers.
func TestARollbackOfAVMKeepsItsMarkerAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		house := justVMs + "snapshots:\n  before: {guest: hass, taken: 2026-11-22}\n"
		b.once(desired(t, house))
		data := dataOf(b.sim, "105 scsi0", "105 scsi1")
		time.Sleep(time.Hour)
		b.sim.WriteData(105, "scsi0", "a bad update")
		b.as("PUT", "/nodes/pve1/qemu/105/config", "scsi2=local-lvm:1", "memory=1024")
		asked := fmt.Sprintf("%s, state: running, rollback: {to: before, requested: %s}}", "  hass: {vmid: 105, type: vm", b.sim.Now().UTC().Add(-time.Second).Format(time.RFC3339))
		want := desired(t, strings.Replace(house, "  hass: {vmid: 105, type: vm}", asked, 1))
		_, text := b.plan(want)
		if !strings.Contains(text, "the rollback takes back scsi1 too") || !strings.Contains(text, "loses: [scsi1]") {
			t.Errorf("the plan is\n%s", text)
		}
		want = desired(t, strings.Replace(house, "  hass: {vmid: 105, type: vm}", strings.Replace(asked, "requested:", "loses: [scsi1], requested:", 1), 1))
		b.once(want)
		config := b.vmConfig(105)
		if now := dataOf(b.sim, "105 scsi0", "105 scsi1"); fmt.Sprint(now) != fmt.Sprint(data) || config["scsi2"] != "" || config["memory"] != "2048" || !strings.Contains(config["description"], "felhom-agent/1 hass vmid=105") {
			t.Errorf("hass is %v with %v, had %v\n%s", config, now, data, b.events)
		}
		if plan, text := b.plan(want); len(plan.Actions)+len(plan.Deferred)+len(plan.Blocked) != 0 {
			t.Errorf("not converged:\n%s", text)
		}
		if n := strings.Count(b.events.String(), "roll back    ok"); n != 1 {
			t.Errorf("rolled back %d times:\n%s", n, b.events)
		}
	})
}

// The disk of a running VM grows at once, keeps its data, and grows once.
func TestADiskOfAVMGrowsAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		data := dataOf(b.sim, "105 scsi0", "105 scsi1")
		want := desired(t, strings.Replace(justVMs, "  hass: {vmid: 105, type: vm}", "  hass: {vmid: 105, type: vm, config: {scsi0: {size: 40G}, scsi1: {size: 9G}}}", 1))
		if r := b.once(want); r.ExitCode() != 0 {
			t.Error(b.closing(r))
		}
		config := b.vmConfig(105)
		if config["scsi0"] != "local-lvm:vm-105-disk-0,size=40G" || config["scsi1"] != "local-lvm:vm-105-disk-1,backup=0,size=9G" || fmt.Sprint(dataOf(b.sim, "105 scsi0", "105 scsi1")) != fmt.Sprint(data) {
			t.Errorf("hass is %v\n%s", config, b.events)
		}
		if plan, text := b.plan(want); len(plan.Actions)+len(plan.Blocked) != 0 {
			t.Errorf("not converged:\n%s", text)
		}
	})
}

// A VM that HA manages is blocked by name, it alone.
func TestAVMUnderHAIsBlockedAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		b = newBench(t, reconciletest.Reborn(t, b.sim, "vmid: 106\n    node: pve1\n", "vmid: 106\n    node: pve1\n    ha: started\n"))
		plan, text := b.plan(desired(t, justVMs))
		if text := strings.Join(strings.Fields(text), " "); len(plan.Blocked) != 1 || !strings.Contains(text, "VM 106 is managed by HA (started), which this agent does not work with") || !strings.Contains(text, "ha-manager remove vm:106") || !strings.Contains(text, "adopt 105") {
			t.Errorf("the plan is\n%s", text)
		}
	})
}

// A VMID that the other type has on another node is blocked by name, and none is made beside it.
func TestAVMIDOfTheOtherTypeOnAnotherNodeIsBlocked(t *testing.T) {
	for name, house := range map[string]string{
		"150 is a container (far on pve2), not a VM":  "guests:\n  dns: {vmid: 101}\n  far: {vmid: 150, type: vm, from: {newest: local}, storage: local-lvm}\n",
		"151 is a VM (away on pve2), not a container": "guests:\n  dns: {vmid: 101}\n  away: {vmid: 151, from: {newest: local}, storage: local-lvm}\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, reconciletest.TwoNodes(t, false))
			b.as("POST", "/nodes/pve2/qemu", "vmid=151", "name=away", "memory=512")
			plan, text := b.plan(desired(t, "node: pve1\n"+house))
			if text = strings.Join(strings.Fields(text), " "); len(plan.Blocked) != 1 || !strings.Contains(text, name) || !strings.Contains(text, "Choose another vmid") {
				t.Errorf("the plan is\n%s", text)
			}
		})
	}
}

// Fleecing is asked for where it is declared, for VMs alone; its storage needs a privilege.
func TestFleecingIsOfVMsAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		b.as("PUT", "/storage/usb-backup", "disable=1")
		want := desired(t, "guests:\n  dns: {vmid: 101}\n  router: {vmid: 106, type: vm}\nbackups:\n  nightly: {guests: all, storage: local, every: 24h, fleecing: local-lvm}\n")
		b.once(desired(t, "guests:\n  dns: {vmid: 101}\n  router: {vmid: 106, type: vm}\n"))
		plan, _ := b.plan(want)
		if len(plan.Actions) == 0 {
			t.Fatal("no backup is planned")
		}
		for _, a := range plan.Actions {
			if fleecing := a.Call.Params["fleecing"]; a.Call.Params["vmid"] == "106" && fleecing != "enabled=1,storage=local-lvm" || a.Call.Params["vmid"] == "101" && fleecing != "" {
				t.Errorf("%s with fleecing %q", a.Text, fleecing)
			}
		}
		if r := b.once(want); r.ExitCode() != 0 || strings.Count(b.sim.String(), "vzdump-qemu-106-") != 1 {
			t.Errorf("%s\n%s", b.closing(r), b.events)
		}
		b.as("PUT", "/access/acl", "path=/storage/local-lvm", "roles=PVEAuditor", "tokens="+b.sim.TokenID())
		b.sim.Advance(25 * time.Hour)
		b.agent.O.Journal = b.journal
		if _, text := newBench(t, b.sim).plan(want); !strings.Contains(text, "lacks Datastore.AllocateSpace on /storage/local-lvm") {
			t.Errorf("the plan is\n%s", text)
		}
	})
}

// PVE starts a stopped VM paused to back it up: where its memory is not free, that waits, with the
// fix; the others are backed up.
func TestABackupOfAStoppedVMNeedsItsMemoryAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		b.as("PUT", "/nodes/pve1/qemu/106/config", "memory=65536")
		want := desired(t, justVMs+"backups:\n  nightly: {guests: all, storage: local, every: 24h}\n")
		b.once(want)
		_, text := b.plan(want)
		text = strings.Join(strings.Fields(text), " ")
		if !strings.Contains(text, "PVE starts a stopped VM paused to back it up: router has 64 GiB, and pve1 has") || !strings.Contains(text, "Free memory on the host, or give the VM less") ||
			strings.Contains(b.sim.String(), "vzdump-qemu-106-") || !strings.Contains(b.sim.String(), "vzdump-qemu-105-") {
			t.Errorf("the plan is\n%s\n%s", text, b.events)
		}
		b.as("PUT", "/nodes/pve1/qemu/106/config", "memory=512")
		if r := b.once(want); r.ExitCode() != 0 || !strings.Contains(b.sim.String(), "vzdump-qemu-106-") {
			t.Errorf("%s\n%s", b.closing(r), b.events)
		}
	})
}

// malformed is a node whose answers about one VM mean nothing.
type malformed struct {
	*pvesim.Sim
	what, data string
}

func (m malformed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == "GET" && strings.HasSuffix(req.URL.Path, m.what) {
		return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Date": {m.Now().UTC().Format(http.TimeFormat)}}, Body: io.NopCloser(strings.NewReader(`{"data":` + m.data + `}`))}, nil
	}
	return m.Sim.RoundTrip(req)
}

// An answer about one VM that is not understood blocks that VM alone.
func TestAnAnswerThatIsNotUnderstoodBlocksOneVM(t *testing.T) {
	for _, data := range []string{`"x"`, `[{"key":7}]`, `[{"key":"memory","value":["2048"]}]`, `{}`, `[null]`, `[{"key":"scsi0","value":"local-lvm:vm-105-disk-0,size=32G"},{"key":"scsi0","value":"other:x"}]`} {
		t.Run(data, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				newBench(t, sim).twoVMs()
				b := newBench(t, sim, func(o *Options) {
					token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
					if err != nil {
						t.Fatal(err)
					}
					if o.Client, err = proxmox.New(proxmox.Options{Token: token, Transport: malformed{sim, "/qemu/105/pending", data}}); err != nil {
						t.Fatal(err)
					}
				})
				b.client = b.agent.O.Client
				want := desired(t, justVMs)
				b.once(want)
				plan, text := b.plan(want)
				if len(plan.Blocked) != 1 || plan.Blocked[0].Object.Name != "hass" || len(plan.Actions) != 0 || strings.Contains(sim.String(), "felhom-agent/1 hass") || !strings.Contains(sim.String(), "felhom-agent/1 router") {
					t.Errorf("the plan is\n%s\n%s", text, b.events)
				}
			})
		})
	}
}

// The drives of an archive need their sizes on a storage that gives room at once, and on a thin one
// what the archive has; there the plan says how far they may grow.
func TestTheRoomForARestoredVMAssumedFromPVEsSources(t *testing.T) {
	for name, c := range map[string]struct{ free, kind, want string }{
		"thin, enough":      {"20000000000", "lvmthin", "its disks may grow to 32 GiB, and local-lvm has 19 GiB left: it is thin"},
		"thin, too little":  {"1000000", "lvmthin", "local-lvm has 977 KiB left, and usb-backup:backup/vzdump-qemu-105-"},
		"thick, too little": {"20000000000", "lvm", "local-lvm has 19 GiB left, and the disks of 105 have 32 GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.twoVMs()
				house := vmHouseWith("2G", "auto")
				b.once(desired(t, house))
				b.sim.Reinstall()
				again := newBench(t, b.sim)
				again.once(desired(t, strings.Split(house, "guests:")[0])) // the mount
				again = newBench(t, b.sim, func(o *Options) {
					token, err := proxmox.NewToken(b.sim.TokenID(), b.sim.TokenSecret())
					if err != nil {
						t.Fatal(err)
					}
					if o.Client, err = proxmox.New(proxmox.Options{Token: token, Transport: smallStorage{b.sim, c.free, c.kind}}); err != nil {
						t.Fatal(err)
					}
				})
				again.client = again.agent.O.Client
				_, text := again.plan(desired(t, house))
				if text = strings.Join(strings.Fields(text), " "); !strings.Contains(text, c.want) {
					t.Errorf("the plan is\n%s", text)
				}
			})
		})
	}
}

var availForm = regexp.MustCompile(`"avail":\d+`)

// smallStorage is a node whose local-lvm has little room, and is of some type.
type smallStorage struct {
	*pvesim.Sim
	free, kind string
}

func (s smallStorage) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := s.Sim.RoundTrip(req)
	if err != nil || req.Method != "GET" || !strings.HasSuffix(req.URL.Path, "/storage") {
		return res, err
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	lines := strings.Split(string(text), "{")
	for i, line := range lines {
		if strings.Contains(line, `"local-lvm"`) {
			line = availForm.ReplaceAllString(line, `"avail":`+s.free)
			lines[i] = strings.ReplaceAll(line, `"lvmthin"`, `"`+s.kind+`"`)
		}
	}
	changed := strings.Join(lines, "{")
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
	return res, err
}
