package reconcile

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/export"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// as does something as root@pam.
func (b *bench) as(method, path string, pairs ...string) {
	b.t.Helper()
	params := map[string]string{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		params[key] = value
	}
	if status, body := b.sim.Do("root@pam", method, path, params); status != 200 {
		b.t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	b.sim.Advance(time.Minute)
}

// containers makes n of them besides the one that is there, each a little different.
func (b *bench) containers(n int) {
	b.t.Helper()
	for i := range n {
		vmid := 200 + i
		pairs := []string{fmt.Sprintf("vmid=%d", vmid), fmt.Sprintf("hostname=ct%d", i), "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz",
			"rootfs=local-lvm:1", "unprivileged=1", fmt.Sprintf("memory=%d", 256+64*i), fmt.Sprintf("cores=%d", 1+i%4),
			fmt.Sprintf("net0=name=eth0,bridge=vmbr0,ip=10.0.10.%d/24,gw=10.0.10.1,hwaddr=BC:24:11:00:00:%02X", 20+i, i)}
		switch i % 5 {
		case 1:
			pairs = append(pairs, "tags=Web;public", "onboot=1", "swap=0")
		case 2:
			pairs = append(pairs, "mp0=local-lvm:2,mp=/data", "description=The family's\nphotos.")
		case 3:
			pairs = append(pairs, "features=nesting=1", "nameserver=10.0.10.1", "cpulimit=1.5")
		case 4:
			pairs = append(pairs, "net1=name=eth1,bridge=vmbr0,ip=dhcp,ip6=auto,tag=20,firewall=1", "startup=order=3,up=20", "timezone=Europe/Budapest")
		}
		b.as("POST", "/nodes/pve1/lxc", pairs...)
		if i%2 == 0 {
			b.as("POST", fmt.Sprintf("/nodes/pve1/lxc/%d/status/start", vmid))
		}
	}
}

func (b *bench) export() *Export {
	b.t.Helper()
	source := b.agent.O.Source
	source.View = b.client.Read()
	x, err := ExportNode(context.Background(), source, b.journal)
	if err != nil {
		b.t.Fatal(err)
	}
	return x
}

// Taking over a host of forty containers is one command: forty adoptions, nothing
// else, and then an empty plan.
func TestExportTakesOverFortyContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.containers(39)
		before := b.sim.Data()
		x := b.export()
		if x.Guests != 40 || len(x.Unseen) != 0 || len(x.Missing) != 0 {
			t.Fatalf("%d guests, unseen %q, missing %q\n%s", x.Guests, x.Unseen, x.Missing, x.Text)
		}
		for _, line := range []string{"# Complete:", "# Proven:", "201 ct1: no backup of it is visible", "202 ct2: mp0 /data (2G) is in no backup", "storage usb-backup is not active: whose backups it holds could not be seen"} {
			if !strings.Contains(x.Text, line) {
				t.Errorf("the export does not say %q:\n%s", line, x.Text)
			}
		}
		want := desired(t, x.Text)
		plan, _ := b.plan(want)
		if len(plan.Actions) != 40 || len(plan.Deferred)+len(plan.Blocked) != 0 {
			t.Fatalf("the plan is not forty adoptions:\n%s", reconciletest.PlanText(plan))
		}
		for _, a := range plan.Actions {
			if a.Verb != "adopt" {
				t.Errorf("%s is no adoption", a.ID)
			}
		}
		if report := b.once(want); report.ExitCode() != 0 || report.Sent != 40 {
			t.Fatalf("exit code %d, %d acts\n%s\n%s", report.ExitCode(), report.Sent, b.events, b.closing(report))
		}
		if plan, after := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("the plan after it is not empty:\n%s", after)
		}
		if b.sim.Data() != before {
			t.Error("taking over has changed data")
		}
		if again := b.export(); again.Guests != 0 || !strings.Contains(again.Text, "managed already, as the object ct7") {
			t.Errorf("a second export declares them again:\n%s", again.Text)
		}
	})
}

func TestExportNamesWhatNeedsAnEye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.sim.Plug("6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11")
		for _, command := range []string{
			"mkdir -p /mnt/usb/backup", "mount UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup",
		} {
			if out, err := b.sim.Shell("pve1", command); err != nil {
				t.Fatalf("%s: %v %s", command, err, out)
			}
		}
		template := "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
		b.as("POST", "/nodes/pve1/lxc", "vmid=300", "hostname=media", template, "rootfs=local-lvm:1", "unprivileged=0", "mp0=/srv,mp=/media")
		b.as("POST", "/nodes/pve1/lxc", "vmid=301", "hostname=twin", template, "rootfs=local-lvm:1", "unprivileged=1", "mp3=local-lvm:5,mp=/scratch")
		b.as("POST", "/nodes/pve1/lxc", "vmid=302", "hostname=twin", template, "rootfs=local-lvm:1", "unprivileged=1", "memory=16", "searchdomain=home.arpa")
		b.as("POST", "/nodes/pve1/lxc", "vmid=303", "hostname=base", template, "rootfs=local-lvm:1", "unprivileged=1", "description=<!-- felhom-agent/1 base vmid=303 owner=pve7 -->")
		b.as("POST", "/nodes/pve1/lxc", "vmid=304", "hostname=still", template, "rootfs=local-lvm:1", "unprivileged=1", "tags=felhom-hold;family")
		x := b.export()
		t.Log("\n" + x.Text)
		if len(x.Unseen) != 0 || len(x.Missing) != 1 {
			t.Errorf("unseen %q, missing %q", x.Unseen, x.Missing)
		}
		for _, line := range []string{
			"#   300 media: privileged:", "#   300 media: mp0 /media is a folder or device of the host (/srv)", "#   301 twin-301: mp3 /scratch (5G) is in no backup: pct set 301 -mp3 ",
			"  twin-301:\n    vmid: 301\n    is: twin\n", "  # base:\n  #   vmid: 303\n", "303 base: it has the ownership marker",
			"from: {newest: usb-backup}   # 1 backup of it, the newest of 20 Nov 02:30", "304 still: it has the tag felhom-hold",
		} {
			if !strings.Contains(x.Text, line) {
				t.Errorf("it does not say %q", line)
			}
		}
		want := desired(t, x.Text)
		if report := b.once(want); report.ExitCode() != 3 || report.Sent != 4 {
			t.Errorf("exit code %d, %d acts\n%s\n%s", report.ExitCode(), report.Sent, b.events, b.closing(report))
		}
	})
}

// A token that sees only some guests never exports a complete node.
func TestExportSaysWhatItCouldNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.containers(3)
		b.as("PUT", "/access/acl", "path=/vms/201", "roles=NoAccess", "tokens=felhom@pve!agent")
		x := b.export()
		if strings.Contains(x.Text, "# Complete") || !strings.Contains(x.Text, "# NOT COMPLETE. The token could not see:") {
			t.Errorf("it is called complete:\n%s", x.Text)
		}
		if unseen := strings.Join(x.Unseen, "\n"); !strings.Contains(unseen, "guest 201") {
			t.Errorf("it does not say that 201 is hidden: %s", unseen)
		}
		if strings.Contains(x.Text, "vmid: 201") || x.Guests != 3 {
			t.Errorf("%d guests\n%s", x.Guests, x.Text)
		}
	})
}

// A guest that is far from all others and has left no trace is found by the entry that hides it.
// (Assumed: a token with Sys.Audit on /access sees the whole access control list.)
func TestExportFindsAHiddenGuestByTheACL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.as("POST", "/nodes/pve1/lxc", "vmid=5000", "hostname=far", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs=local-lvm:1", "unprivileged=1")
		b.as("PUT", "/access/acl", "path=/vms/5000", "roles=NoAccess", "tokens=felhom@pve!agent")
		for range 120 { // task lists are short
			b.as("POST", "/nodes/pve1/lxc/101/status/shutdown")
			b.as("POST", "/nodes/pve1/lxc/101/status/start")
		}
		x := b.export()
		if unseen := strings.Join(x.Unseen, "\n"); !strings.Contains(unseen, "guest 5000: it exists, and the token does not see it") || strings.Contains(x.Text, "# Complete") {
			t.Errorf("it says %q\n%s", unseen, x.Text)
		}
		// Without the list the export is as good as before, and says what it asked for.
		if err := b.sim.Inject(pvesim.Fault{Match: "GET /access/acl", Times: -1, Effect: "error", Text: "no"}); err != nil {
			t.Fatal(err)
		}
		if x := b.export(); x.Guests != 1 {
			t.Errorf("%d guests, unseen %q", x.Guests, x.Unseen)
		}
	})
}

// What would be more than an adoption is found, by guest.
func TestExportSaysWhatWouldDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		source := b.agent.O.Source
		source.View = b.client.Read()
		x := &export.Exporter{Source: source}
		if err := x.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.Choose()
		want := desired(t, strings.Replace(x.Text(""), "memory: 512MiB", "memory: 1GiB", 1))
		have, err := source.Reader(want, b.journal, nil).Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Differs(want, have)["dns"]; len(got) != 1 || got[0] != "a plan would change it: memory 1024 MiB -> 512 MiB" {
			t.Errorf("%q", got)
		}
	})
}

// One guest that cannot be adopted keeps no other out of an export: it stands at the top
// with the reason and the fix, and below as a comment.
func TestExportIsNotAllOrNothing(t *testing.T) {
	for what, c := range map[string]struct{ config, says string }{
		"a lock of a backup":   {"lock: backup", "101 is locked (backup) and nothing that runs explains it"},
		"a lock of a snapshot": {"lock: snapshot-delete", "pct unlock 101"},
		"mounted":              {"lock: mounted", "pct unmount 101"},
		"being trimmed":        {"lock: fstrim", "pct fstrim"},
		"a lock of a creation": {"lock: create", "101 is locked (create)"},
		"an unknown net":       {"net7: bridge", "net7 of 101 is not understood"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, reconciletest.Reborn(t, pvesim.New(), "\n      arch: amd64\n", "\n      arch: amd64\n      "+c.config+"\n"))
				b.containers(2)
				x := b.export()
				head, _, _ := strings.Cut(x.Text, "\nguests:")
				if x.Guests != 2 || len(x.Missing) != 1 || !strings.Contains(head, "# MISSING, and only comments below:\n#   101 dns: ") || !strings.Contains(head, c.says) || !strings.Contains(x.Text, "  # dns:\n  #   vmid: 101\n") {
					t.Errorf("%d guests, missing %q\n%s", x.Guests, x.Missing, x.Text)
				}
				plan, text := b.plan(desired(t, x.Text))
				if len(plan.Actions) != 2 || len(plan.Deferred)+len(plan.Blocked) != 0 {
					t.Errorf("the plan is not two adoptions:\n%s", text)
				}
			})
		})
	}
	t.Run("Notes without room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.containers(2)
			b.as("PUT", "/nodes/pve1/lxc/200/config", "description="+strings.Repeat("x", 8190))
			if x := b.export(); x.Guests != 2 || len(x.Missing) != 1 || !strings.Contains(x.Missing[0], "200 ct0: the Notes of 200 leave no room") {
				t.Errorf("%d guests, missing %q\n%s", x.Guests, x.Missing, x.Text)
			}
		})
	})
}

// What an export names of a guest before somebody trusts it.
func TestExportNamesAllThatNeedsAnEye(t *testing.T) {
	for config, says := range map[string]string{
		"dev0: /dev/dri/renderD128,gid=104":                                  "dev0 passes the host's device /dev/dri/renderD128: only root@pam can set it",
		"hookscript: local:snippets/hook.pl":                                 "hookscript local:snippets/hook.pl: root runs it on the host",
		"protection: 1":                                                      "protected: PVE refuses",
		"entrypoint: /bin/server":                                            "entrypoint \"/bin/server\" instead of an init",
		"lxc.environment.runtime: PASSWORD=geheim":                           "env has variables, perhaps passwords",
		"mp0: gone:vm-101-disk-7,mp=/data,backup=1,size=1G":                  "mp0 is on storage gone, which is not visible",
		"unused0: gone:vm-101-disk-7":                                        "unused0 is on storage gone, which is not visible",
		"features: fuse=1,mknod=1,nesting=1":                                 "features fuse=1,mknod=1: only root@pam can set them",
		"features: force_rw_sys=1,mount=nfs":                                 "features force_rw_sys=1,mount=nfs: only root@pam",
		"net4: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:44,type=veth":    "net0 and net4 both have the interface name eth0: it does not start so",
		"net4: name=eth4,bridge=vmbr0,hwaddr=bc:24:11:0d:05:65,type=veth":    "both have the hardware address BC:24:11:0D:05:65",
		"net4: name=eth4,bridge=vmbr0,hwaddr=BC:24:11:00:00:44,type=phys":    "net4 is type=phys, not veth",
		"net4: name=eth4,hwaddr=BC:24:11:00:00:44,type=veth":                 "net4 names no bridge",
		"cpulimit: many":                                                     "cpulimit is",
		"tty: lots":                                                          "tty is \"lots\", which is not a number",
		"mp0: /srv/a,mp=/data\n      mp1: /srv/b,mp=/data/":                  "mp0 and mp1 both have the path /data: one hides the other",
		"mp0: /srv/a,mp=/m\u00c3\u00bcsik":                                   "which is encoded twice: it is",
		"lxc.mount.entry: /srv/a data none bind\n      mp1: /srv/b,mp=/data": "both have the path /data",
	} {
		t.Run(config, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, reconciletest.Reborn(t, pvesim.New(), "\n      arch: amd64\n", "\n      arch: amd64\n      "+config+"\n"))
				x := b.export()
				head, _, _ := strings.Cut(x.Text, "\nguests:")
				if !strings.Contains(head, says) || x.Guests != 1 || strings.Contains(x.Text, "geheim") {
					t.Fatalf("%d guests; its head does not say %q\n%s", x.Guests, says, x.Text)
				}
				want := desired(t, x.Text)
				b.once(want)
				if plan, text := b.plan(want); plan.ExitCode() != 0 {
					t.Errorf("after the adoption the plan is not empty:\n%s", text)
				}
			})
		})
	}
	t.Run("rootfs", func(t *testing.T) {
		for root, says := range map[string]string{"gone:vm-101-disk-0,size=4G": "rootfs is on storage gone, which is not visible", "/srv/root": "its rootfs is a folder or device of the host (/srv/root)"} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, reconciletest.Reborn(t, pvesim.New(), "\n      rootfs: local-lvm:vm-101-disk-0,size=4G\n", "\n      rootfs: "+root+"\n"))
				if x := b.export(); !strings.Contains(x.Text, says) {
					t.Errorf("it does not say %q\n%s", says, x.Text)
				}
			})
		}
	})
	t.Run("shared", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.containers(2)
			b.as("PUT", "/nodes/pve1/lxc/201/config", "hostname=DNS", "net0=name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0D:05:65")
			x := b.export()
			for _, says := range []string{"its hostname DNS is also that of 101", "201 dns-201: the hardware address BC:24:11:0D:05:65 of its net0 is also that of 101"} {
				if !strings.Contains(x.Text, says) {
					t.Errorf("it does not say %q\n%s", says, x.Text)
				}
			}
		})
	})
}
