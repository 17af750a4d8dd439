package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

const vmHouse = `mounts:
  usb-backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}, storage: local-lvm, state: running}
  hass:
    vmid: 105
    type: vm
    from: {newest: usb-backup}
    storage: local-lvm
    state: running
    restart: RESTART
    config: {memory: MEMORY, cores: 2, net0: {bridge: vmbr0, firewall: true}, tags: [home], agent: true}
  router: {vmid: 106, type: vm, from: {newest: usb-backup}, storage: local-lvm, state: stopped}
snapshots:
  before-upgrade: {guest: hass, taken: 2026-11-22}
backups:
  nightly: {guests: all, storage: usb-backup, every: 24h, keep: {last: 2}}
`

func vmHouseWith(memory, restart string) string {
	return strings.NewReplacer("MEMORY", memory, "RESTART", restart).Replace(vmHouse)
}

// twoVMs makes two virtual machines as root would.
func (b *bench) twoVMs() {
	b.as("POST", "/nodes/pve1/qemu", "vmid=105", "name=hass", "memory=2048", "cores=2", "net0=virtio=BC:24:11:00:00:05,bridge=vmbr0,queues=4", "scsi0=local-lvm:32", "scsi1=local-lvm:8,backup=0", "agent=enabled=0,fstrim_cloned_disks=1", "ostype=l26")
	b.as("POST", "/nodes/pve1/qemu", "vmid=106", "name=router", "memory=512", "virtio0=local-lvm:4", "net0=virtio=BC:24:11:00:00:06,bridge=vmbr0")
	b.as("POST", "/nodes/pve1/qemu/105/status/start")
	b.sim.WriteData(105, "scsi0", "the automations")
	b.sim.WriteData(106, "virtio0", "the firewall")
}

// dataOf are the fingerprints of what the volumes of some guests hold.
func dataOf(sim *pvesim.Sim, keys ...string) (lines []string) {
	for line := range strings.Lines(sim.Data()) {
		for _, key := range keys {
			if strings.HasPrefix(line, key+" ") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// A household with two VMs: adopted unchanged, edited, snapshotted, backed up, and back with its
// data after the fire. What PVE does with VMs is assumed from its sources.
func TestVMsAdoptEditBackUpFireRestoreAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		before := b.sim.String()
		want := desired(t, vmHouseWith("2G", "manual"))
		_, text := b.plan(want)
		for _, line := range []string{"adopt 105 (hass)", "adopt 106 (router)"} {
			if !strings.Contains(text, line) {
				t.Errorf("the plan lacks %q:\n%s", line, text)
			}
		}
		b.once(want)
		if after := b.sim.String(); !strings.Contains(after, "#<!-- felhom-agent/1") {
			t.Errorf("not adopted:\n%s", pvesim.Diff(before, after))
		}
		config := b.vmConfig(105)
		if config["agent"] != "1,fstrim_cloned_disks=1" || config["net0"] != "virtio=BC:24:11:00:00:05,bridge=vmbr0,firewall=1,queues=4" || config["tags"] != "home" || config["ostype"] != "l26" {
			t.Errorf("hass is %v\n%s", config, b.events)
		}
		if _, text := b.plan(want); !strings.Contains(text, "in force only after a restart") || !strings.Contains(text, "qm reboot 105") || !strings.Contains(text, "in no backup: scsi1 8G") {
			t.Errorf("the agent waits for a restart:\n%s", text)
		}
		b.once(desired(t, vmHouseWith("4G", "auto")))
		if config := b.vmConfig(105); config["memory"] != "4096" {
			t.Errorf("hass is %v\n%s", config, b.events)
		}
		if state := b.sim.String(); !strings.Contains(state, "guest 105 on pve1, running") || !strings.Contains(state, "guest 106 on pve1, stopped") || !strings.Contains(state, "before-upgrade=") {
			t.Errorf("the run state or the snapshot is another:\n%s\n%s", state, b.events)
		}
		if text := b.sim.String(); strings.Count(text, "vzdump-qemu-") < 2 || strings.Contains(text, "[pve:pending]") {
			t.Errorf("not backed up, or something waits:\n%s", text)
		}
		want = desired(t, vmHouseWith("4G", "auto"))
		if plan, text := b.plan(want); len(plan.Actions)+len(plan.Deferred)+len(plan.Blocked) != 0 {
			t.Errorf("not converged:\n%s", text)
		}
		time.Sleep(25 * time.Hour)
		b.once(want)
		time.Sleep(25 * time.Hour)
		b.once(want)
		if n := strings.Count(b.sim.String(), "vzdump-qemu-105-"); n != 2 {
			t.Errorf("keep: {last: 2} leaves %d backups:\n%s", n, b.sim)
		}
		data := dataOf(b.sim, "105 scsi0", "106 virtio0")
		b.sim.Reinstall()
		again := newBench(t, b.sim)
		_, text = again.plan(want)
		if !strings.Contains(text, "create 105 from its newest backup") && !strings.Contains(text, "when mounts/usb-backup is mounted") {
			t.Errorf("after the fire:\n%s", text)
		}
		again.once(want)
		if now := dataOf(again.sim, "105 scsi0", "106 virtio0"); fmt.Sprint(now) != fmt.Sprint(data) || len(now) != 2 {
			t.Errorf("back with %v, had %v\n%s", now, data, again.events)
		}
		config = again.vmConfig(105)
		if config["net0"] != "virtio=BC:24:11:00:00:05,bridge=vmbr0,firewall=1,queues=4" || config["memory"] != "4096" || config["scsi1"] != "" || strings.Contains(config["description"], "scsi1") {
			t.Errorf("hass came back as %v", config)
		}
		if state := again.sim.String(); !strings.Contains(state, "guest 105 on pve1, running") || !strings.Contains(state, "guest 106 on pve1, stopped") {
			t.Errorf("the run state is another:\n%s", state)
		}
	})
}

// vmConfig is the config of a VM in force and pending.
func (b *bench) vmConfig(vmid int) map[string]string {
	b.t.Helper()
	config, err := b.client.Of(proxmox.QEMU, "pve1", proxmox.VMID(vmid)).Config(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return config.Raw
}

// after plans the household on a node on which root has done some things.
func afterVM(t *testing.T, house string, do func(b *bench)) (text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		do(b)
		_, text = b.plan(desired(t, house))
	})
	return text
}

// What is of the other type, a template, or managed by HA is blocked by name; what is not
// understood blocks that VM alone.
func TestVMsThatAreBlockedAssumedFromPVEsSources(t *testing.T) {
	const head = "guests:\n  dns: {vmid: 101}\n"
	for name, c := range map[string]struct {
		house string
		do    func(b *bench)
		want  string
	}{
		"a VM declared as a container": {head + "  hass: {vmid: 105, type: container}\n", func(*bench) {}, "105 is a VM (hass on pve1), not a container. If it is the one you mean: type: vm"},
		"one that may be lost":         {head + "  hass: {vmid: 105, from: {newest: usb-backup}}\n", func(*bench) {}, "105 is a VM (hass on pve1), not a container. If it is the one you mean: type: vm"},
		"one with keys of containers":  {head + "  hass: {vmid: 105, config: {swap: 512}}\n", func(*bench) {}, "105 is a VM (hass on pve1), not a container. If it is the one you mean: type: vm"},
		"a container declared as a VM": {"guests:\n  dns: {vmid: 101, type: vm}\n  hass: {vmid: 105, type: vm}\n", func(*bench) {}, "101 is a container (dns on pve1), not a VM. If it is the one you mean: remove type: vm"},
		"another name":                 {head + "  hass: {vmid: 106, type: vm}\n", func(*bench) {}, "106 has the hostname router, not hass"},
		"a template":                   {head + "  router: {vmid: 106, type: vm}\n", func(b *bench) { b.as("PUT", "/nodes/pve1/qemu/106/config", "template=1") }, "106 is a template, no VM that runs"},
		"an odd net":                   {head + "  hass: {vmid: 105, type: vm}\n  router: {vmid: 106, type: vm}\n", func(b *bench) { b.as("PUT", "/nodes/pve1/qemu/105/config", "agent=sometimes,enabled=maybe") }, "agent of 105 is not understood"},
		"no VM and nothing to make it": {head + "  web: {vmid: 107, type: vm}\n", func(*bench) {}, "there is no VM 107 here, and nothing says from what to make it"},
		"a disk that it lacks":         {head + "  hass: {vmid: 105, type: vm, config: {scsi3: {size: 8G}}}\n", func(b *bench) { b.once(desired(t, head+"  hass: {vmid: 105, type: vm}\n")) }, "VM 105 has no disk scsi3, and none is made"},
		"a smaller disk":               {head + "  hass: {vmid: 105, type: vm, config: {scsi0: {size: 8G}}}\n", func(b *bench) { b.once(desired(t, head+"  hass: {vmid: 105, type: vm}\n")) }, "scsi0 has 32G, and a volume never shrinks (8G is declared)"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(strings.Fields(afterVM(t, c.house, c.do)), " ")
			if !strings.Contains(text, c.want) || !strings.Contains(text, "1 blocked") {
				t.Errorf("the plan is\n%s\nwant %q and nothing else blocked", text, c.want)
			}
		})
	}
}

// An archive that passes a device of the host, or brings what only root may set, is refused or
// named before anything is sent; one with EFI and TPM comes back.
func TestVMArchivesThatATokenMayNotRestoreAssumedFromPVEsSources(t *testing.T) {
	for name, c := range map[string]struct {
		root  string // what root gives the VM before the backup
		trust string
		want  string // "": it comes back
	}{
		"raw PCI":           {"hostpci0=0000:01:00", "", "passes a device of the host (hostpci0: 0000:01:00), which a token may not restore"},
		"raw USB":           {"usb0=host=1234:5678", "", "passes a device of the host (usb0: host=1234:5678), which a token may not restore"},
		"mapped USB":        {"usb0=mapping=stick", "", ""},
		"arguments":         {"args=-device x", "", "has args: -device x, which only root may set and PVE would restore unasked. If it is yours: trust: [args]"},
		"trusted arguments": {"args=-device x", ", trust: [args]", ""},
		"a real serial":     {"serial0=/dev/ttyS0", "", "has serial0: /dev/ttyS0, which only root may set"},
		"EFI and TPM":       {"efidisk0=local-lvm:1,efitype=4m", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.twoVMs()
				b.as("PUT", "/access/roles/FelhomAgent", "append=1", "privs=Mapping.Use")
				b.as("PUT", "/nodes/pve1/qemu/106/config", c.root)
				house := strings.Replace(vmHouseWith("2G", "auto"), "state: stopped", "state: stopped"+c.trust, 1)
				b.once(desired(t, house))
				data := dataOf(b.sim, "106 virtio0", "106 efidisk0")
				b.sim.Reinstall()
				again := newBench(t, b.sim)
				again.once(desired(t, house))
				_, text := again.plan(desired(t, house))
				text = strings.Join(strings.Fields(text), " ")
				if c.want != "" && (!strings.Contains(text, c.want) || strings.Contains(again.sim.String(), "guest 106")) {
					t.Errorf("the plan is\n%s\nwant %q\n%s", text, c.want, again.events)
				}
				if now := dataOf(again.sim, "106 virtio0", "106 efidisk0"); c.want == "" && (len(data) == 0 || fmt.Sprint(now) != fmt.Sprint(data)) {
					t.Errorf("back with %v, had %v\n%s\n%s", now, data, text, again.events)
				}
				if now := again.sim.String(); !strings.Contains(now, "guest 105 on pve1, running") { // the other is not held up
					t.Errorf("hass did not come back:\n%s", again.events)
				}
			})
		})
	}
}

// A restore that fails leaves an empty VM; it is known as ours, named, and never restored over.
func TestTheWreckOfAVMRestoreIsNamedAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		want := desired(t, vmHouseWith("2G", "auto"))
		b.once(want)
		b.sim.Reinstall()
		again := newBench(t, b.sim)
		if err := again.sim.Inject(pvesim.Fault{Match: "task qmrestore 106", Effect: "fail", Text: "vma extract failed"}); err != nil {
			t.Fatal(err)
		}
		again.once(want)
		time.Sleep(time.Hour)
		again.once(want)
		_, text := again.plan(want)
		text = strings.Join(strings.Fields(text), " ")
		for _, line := range []string{"VM 106 is what the restore begun on", "qm destroy 106"} {
			if !strings.Contains(text, line) {
				t.Errorf("the plan lacks %q:\n%s\n%s", line, text, again.events)
			}
		}
		again.as("DELETE", "/nodes/pve1/qemu/106")
		again = newBench(t, again.sim, func(o *Options) { o.Source.Only = []spec.Ref{{Kind: spec.KindGuest, Name: "router"}} })
		again.once(want)
		if now := dataOf(again.sim, "106 virtio0"); len(now) != 1 {
			t.Errorf("it does not come back:\n%s", again.events)
		}
	})
}

// An export declares VMs as they are, and the plan of it adopts them and changes nothing.
func TestExportOfVMsAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		x := b.export()
		if x.Guests != 3 || len(x.Missing) != 0 {
			t.Fatalf("%d guests, missing %q\n%s", x.Guests, x.Missing, x.Text)
		}
		for _, line := range []string{"    type: vm\n", "      memory: 2GiB\n", "      agent: false\n", "      net0: {bridge: vmbr0}\n", "# scsi0: local-lvm:vm-105-disk-", "105 hass: scsi1 8G is in no backup"} {
			if !strings.Contains(x.Text, line) {
				t.Errorf("the export lacks %q:\n%s", line, x.Text)
			}
		}
		b.once(desired(t, x.Text))
		if plan, text := b.plan(desired(t, x.Text)); len(plan.Actions)+len(plan.Blocked) != 0 {
			t.Errorf("not adopted:\n%s", text)
		}
	})
}

// A household without VMs asks nothing about them; with N of them it costs what N containers cost,
// and one request for their list.
func TestVMsCostOneRequestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		cost := func(house string) int {
			plan, _ := b.plan(desired(t, house))
			return plan.Header.Requests
		}
		none := cost("guests:\n  dns: {vmid: 101}\n")
		one := cost("guests:\n  dns: {vmid: 101}\n  hass: {vmid: 105, type: vm}\n")
		two := cost("guests:\n  dns: {vmid: 101}\n  hass: {vmid: 105, type: vm}\n  router: {vmid: 106, type: vm}\n")
		if one != none+2 || two != one+1 {
			t.Errorf("%d requests without VMs, %d with one, %d with two", none, one, two)
		}
	})
}

// What waits in a running VM is set back to what is in force: nothing waits any more, and the
// plan asks for no restart. (PVE: QemuConfig, cleanup_pending)
func TestAPendingValueOfAVMThatIsSetBackNeedsNoRestartAssumedFromPVEsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.twoVMs()
		want := desired(t, "guests:\n  dns: {vmid: 101}\n  hass: {vmid: 105, type: vm, drift: heal, config: {memory: 2GiB}}\n")
		b.once(want)
		b.as("PUT", "/nodes/pve1/qemu/105/config", "memory=1024")
		if plan, text := b.plan(want); len(plan.Actions) != 1 || len(plan.Blocked)+len(plan.Deferred) != 0 {
			t.Errorf("the plan is\n%s", text)
		}
		if r := b.once(want); r.ExitCode() != 0 || strings.Contains(b.sim.String(), "[pve:pending]") {
			t.Errorf("not converged:\n%s\n%s", b.closing(r), b.sim)
		}
	})
}
