package reconcile

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/spec"
)

// A quietHost counts the programs that the root helper runs on it, blkid among them.
type quietHost struct {
	*pvesim.Host
	mu   sync.Mutex
	runs []string
}

func (h *quietHost) Run(ctx context.Context, program string, args []string, progress func(string)) ([]byte, int, error) {
	h.mu.Lock()
	h.runs = append(h.runs, program)
	h.mu.Unlock()
	return h.Host.Run(ctx, program, args, progress)
}

// ran are the programs that were run so far.
func (h *quietHost) ran() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.runs)
}

// quietInterval is the time between two looks at the marks, quietLate the most that its jitter adds.
const (
	quietInterval = 10 * time.Minute
	quietLate     = quietInterval + quietInterval/10
)

const quietHousehold = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
  media: {uuid: ` + mediaDisk + `, path: /mnt/usb/media}
guests:
  dns: {vmid: 101, drift: heal, state: STATE, config: {memory: 512MiB}}
backups:
  daily: {guests: all, storage: usb-backup, every: 7d, keep: {last: 3}}
`

// A quiet bench is a household whose agent watches.
type quiet struct {
	*bench
	host *quietHost
	mu   sync.Mutex
	read time.Time // when a pass read the node last
	kept int       // looks that found nothing changed
}

func (q *quiet) passed(p *Plan, _ time.Duration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil && !p.Header.Unchanged.IsZero() {
		q.kept++
		return
	}
	q.read = time.Now()
}

// looks are how many found nothing changed.
func (q *quiet) looks() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.kept
}

func newQuiet(t *testing.T, sim *pvesim.Sim) *quiet {
	q := &quiet{host: &quietHost{Host: sim.Host(sim.Node())}}
	q.bench = newBench(t, sim, func(o *Options) { o.Runner = &privileged.Local{Host: q.host} })
	return q
}

// TestQuietPass: as long as nothing changes on the host, a watching agent sends no request and reads no disk, but once an hour; and every change that
// others make is noticed, and answered as a refresh answers it, within the time that docs/operations.md states.
func TestQuietPass(t *testing.T) {
	archive := func(b *bench) string {
		for _, line := range strings.Split(b.sim.String(), "\n") {
			if _, name, ok := strings.Cut(line, "/ backup/vzdump-lxc-101-2026_11_22"); ok {
				return "vzdump-lxc-101-2026_11_22" + name[:strings.Index(name, ":")]
			}
		}
		b.t.Fatal("there is no archive")
		return ""
	}
	shell := func(line string) func(*bench) {
		return func(b *bench) {
			if out, err := b.sim.Shell("pve1", line); err != nil {
				b.t.Fatal(out, err)
			}
		}
	}
	call := func(method, path string, pairs ...string) func(*bench) {
		return func(b *bench) { b.as(method, path, pairs...) }
	}
	const dns = "/nodes/pve1/lxc/101"
	for _, c := range []struct {
		name   string
		state  string // of the guest
		before func(*bench)
		change func(*bench)
		within time.Duration
	}{
		{"nothing", "running", nil, nil, 0},
		{"a config", "running", nil, call("PUT", dns+"/config", "memory=256"), quietLate},
		{"a pending value", "running", nil, call("PUT", dns+"/config", "nameserver=192.0.2.1"), quietLate},
		{"a start", "stopped", nil, shell("pct start 101"), quietLate},
		{"a stop", "running", nil, shell("pct stop 101"), quietLate},
		{"an end from inside", "running", nil, func(b *bench) { b.sim.Die(101) }, quietLate},
		{"a restart between two looks", "running", nil, shell("pct reboot 101"), quietLate},
		{"a disk is pulled", "running", nil, func(b *bench) { b.sim.Unplug(mediaDisk) }, quietLate},
		{"a disk is connected", "running", func(b *bench) { b.sim.Unplug(mediaDisk) }, func(b *bench) { b.sim.Plug(mediaDisk) }, applying.WaitedFor},
		{"a mount is gone", "running", nil, shell("umount /mnt/usb/media"), quietLate},
		{"a line of the fstab", "running", nil, func(b *bench) {
			old, _ := b.sim.Host("pve1").ReadFile("/etc/fstab")
			if err := b.sim.Host("pve1").ReplaceFile("/etc/fstab", old, []byte(strings.ReplaceAll(string(old), "nofail", "auto"))); err != nil {
				b.t.Fatal(err)
			}
		}, quietLate},
		{"an archive is deleted through the API", "running", nil, func(b *bench) { b.as("DELETE", "/nodes/pve1/storage/usb-backup/content/usb-backup:backup/"+archive(b)) }, quietLate},
		{"an archive is deleted with rm", "running", nil, func(b *bench) { shell("rm /mnt/usb/backup/dump/" + archive(b))(b) }, applying.QuietAge},
		{"a snapshot", "running", nil, call("POST", dns+"/snapshot", "snapname=mine"), quietLate},
		{"a storage", "running", nil, call("POST", "/storage", "storage=more", "type=dir", "path=/srv"), quietLate},
		{"a pool", "running", nil, call("POST", "/pools", "poolid=mine"), quietLate},
		{"a permission", "running", nil, call("PUT", "/access/acl", "path=/vms/101", "roles=PVEAuditor", "users=felhom@pve"), quietLate},
		{"a task that changes nothing", "running", nil, call("POST", "/nodes/pve1/startall", "vms=101"), quietLate},
		{"pmxcfs begins anew", "running", nil, func(b *bench) { b.sim.RestartPmxcfs() }, quietLate},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := desired(t, strings.ReplaceAll(quietHousehold, "STATE", c.state))
			synctest.Test(t, func(t *testing.T) {
				q := newQuiet(t, pvesim.New())
				if r := q.once(want); r.ExitCode() != 0 {
					t.Fatal(q.closing(r))
				}
				if c.before != nil {
					c.before(q.bench)
				}
				stop := q.watch(quietInterval, always(want), q.passed)
				defer stop()
				time.Sleep(time.Minute) // the first pass, and those after what it sends
				last := q.settled()
				time.Sleep(25 * time.Minute)
				requests, runs := q.sim.Requests(), len(q.host.ran())
				if read, kept := q.settled(), q.looks(); !read.Equal(last) || kept < 2 {
					t.Fatalf("before anything changed the node was read at %s, and seen to be unchanged %d times\n%s", read, kept, q.events)
				}
				if c.change == nil {
					time.Sleep(time.Until(last.Add(applying.QuietAge)) - time.Second)
					now, ran := q.sim.Requests()-requests, q.host.ran()[runs:]
					t.Logf("%-40s %d requests and %d programs in %s, with %d looks", c.name, now, len(ran), time.Since(last).Round(time.Minute), q.looks())
					if now > 0 || len(ran) > 0 {
						t.Errorf("%d requests were sent, %q were run", now, ran)
					}
					time.Sleep(time.Minute)
					if q.sim.Requests() == requests {
						t.Error("after an hour the node is not read")
					}
					return
				}
				c.change(q.bench)
				changed := time.Now()
				for q.sim.Requests() == requests && time.Since(changed) <= c.within {
					time.Sleep(time.Second)
				}
				t.Logf("%-40s read after %s, stated: %s", c.name, time.Since(changed), c.within)
				if q.sim.Requests() == requests {
					t.Errorf("the node was not read within %s", c.within)
				}
				time.Sleep(5 * time.Minute) // for what the agent does about it
				stop()
				if p, text := q.plan(want); len(p.Actions) > 0 {
					t.Errorf("a refresh now would do more:\n%s\n%s", text, q.events)
				}
			})
		})
	}
}

// settled is when the node was read last.
func (q *quiet) settled() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.read
}

// An edit of which nothing told, as where inotify has no watch left, is noticed within the interval all the same.
func TestQuietPassSeesAnEdit(t *testing.T) {
	text := strings.ReplaceAll(quietHousehold, "STATE", "running")
	want, edited := desired(t, text), desired(t, strings.ReplaceAll(text, "512MiB", "768MiB"))
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t, pvesim.New())
		q.once(want)
		var force atomic.Pointer[spec.Desired]
		force.Store(want)
		stop := q.watch(quietInterval, force.Load, q.passed)
		defer stop()
		time.Sleep(25 * time.Minute)
		if q.looks() == 0 {
			t.Fatal("it was never quiet")
		}
		force.Store(edited)
		time.Sleep(quietLate + time.Minute)
		if _, conf := q.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil); !strings.Contains(conf, `"memory":768`) && !strings.Contains(conf, `"memory":"768"`) {
			t.Errorf("the edit is not in force: %s", conf)
		}
	})
}
