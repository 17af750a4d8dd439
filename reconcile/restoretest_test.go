package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

const tested = `
node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}}
backups:
  nightly: {guests: all, storage: usb-backup, every: 24h}
tests:
  weekly: {guests: all, storage: local-lvm, vmids: 9900-9909, every: 7d, warn-after: 15d PROBE}
`

// dnsmasq is what runs in the guest dns.
var dnsmasq = world.Inside{Boots: 20, Units: map[string]string{"dnsmasq.service": "active", "cron.service": "active"}, Ports: map[int]int{53: 0, 80: 200}, Processes: []string{"dnsmasq"},
	Files: map[string]world.InsideFile{"/srv/canary": {Text: "here", Modified: 1795000000}}}

// withTests gives a bench the token of restore tests, and opens their range to probes.
func withTests(t testing.TB, sim *pvesim.Sim) func(*Options) {
	t.Helper()
	id, secret := sim.AllowTests(proxmox.TestPool)
	token, err := proxmox.NewTestToken(id, secret)
	if err != nil {
		t.Fatal(err)
	}
	own, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.PutFile(privileged.PolicyPath, []byte(`{"tests": "9900-9909"}`)); err != nil {
		t.Fatal(err)
	}
	return func(o *Options) {
		if o.TestGuests, err = proxmox.NewTestGuests(proxmox.Options{Transport: sim, Token: own}, token, proxmox.TestPool); err != nil {
			t.Fatal(err)
		}
	}
}

// testBench is a fresh node on which a backup of dns was made and recorded, before tests are declared.
func testBench(t testing.TB, probe string, options ...func(*Options)) (*bench, *spec.Desired) {
	t.Helper()
	if probe != "" {
		probe = ", probe: " + probe
	}
	text := strings.ReplaceAll(tested, " PROBE", probe)
	before, _, _ := strings.Cut(text, "tests:")
	sim := pvesim.New()
	sim.Furnish(101, dnsmasq)
	b := newBench(t, sim, append([]func(*Options){withTests(t, sim)}, options...)...)
	b.once(desired(t, before))
	return b, desired(t, text)
}

func lastTest(t testing.TB, b *bench) state.LastTest {
	t.Helper()
	stored, err := b.agent.O.Store.Load()
	if err != nil {
		t.Fatal(err)
	}
	return stored.Tests["dns"]
}

// A restore test leaves the world as it was, and says what it has found.
func TestARestoreTestFindsOutAndLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		probe, verdict, why string
		inside              func(*world.Inside)
	}{
		"by itself":              {verdict: "works"},
		"probes":                 {probe: `[{unit: dnsmasq}, {process: dnsmasq}, {tcp: 53}, {http: 80/status}, {file: /srv/canary}, {systemd: running}]`, verdict: "works"},
		"a unit that is missing": {probe: `[{unit: nginx}, {tcp: 53}]`, verdict: "fails", why: "unit nginx.service: inactive"},
		"a damaged service":      {verdict: "fails", why: "cron.service", inside: func(i *world.Inside) { i.Units = map[string]string{"cron.service": "failed"} }},
		"an old canary":          {probe: `[{file: /srv/canary, newer-than: 1h}]`, verdict: "fails", why: "expected after"},
		"no systemd":             {verdict: "boots", inside: func(i *world.Inside) { i.NoSystemd = true }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, want := testBench(t, c.probe)
				if c.inside != nil {
					inside := *dnsmasq.Copy()
					c.inside(&inside)
					for _, v := range volumesOn(t, b, "usb-backup") {
						if err := b.sim.FurnishArchive(v.VolID, inside); err != nil {
							t.Fatal(err)
						}
					}
				}
				before := b.sim.String()
				r := b.once(want)
				last := lastTest(t, b)
				if string(last.Verdict) != c.verdict || !strings.Contains(last.Why, c.why) || last.Verdict.Good() != (last.Good != nil) {
					t.Errorf("%+v\n%s\n%s", last, b.events, b.closing(r))
				}
				if after := b.sim.String(); after != before {
					t.Errorf("something is left:\n%s\n%s", pvesim.Diff(before, after), b.events)
				}
				if r.ExitCode() != 0 && c.verdict != "fails" {
					t.Errorf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
			})
		})
	}
}

// Virtual machines are not tested, and that is said: a note of the plan where all guests are meant, a mistake where one is named.
func TestVirtualMachinesAreNotTested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := testBench(t, "")
		b.twoVMs()
		text := strings.ReplaceAll(strings.Replace(tested, "backups:", "  hass: {vmid: 105, type: vm}\n  router: {vmid: 106, type: vm}\nbackups:", 1), " PROBE", "")
		r := b.once(desired(t, text))
		if notes := fmt.Sprint(r.Plan.Notes); !strings.Contains(notes, "not tested, for restore tests are for containers: hass and router; except: [hass, router] takes this line away") || r.Plan.Tests["hass"].Object != "" {
			t.Errorf("%v", notes)
		}
		r = b.once(desired(t, strings.Replace(text, "weekly: {guests: all,", "weekly: {guests: all, except: [hass, router],", 1)))
		if notes := fmt.Sprint(r.Plan.Notes); strings.Contains(notes, "not tested") {
			t.Errorf("%v", notes)
		}
	})
}

// A first backup is made, verified and tested in one run.
func TestAFirstBackupIsTested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		sim.Furnish(101, dnsmasq)
		b := newBench(t, sim, withTests(t, sim))
		_, before, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(tested, " PROBE", ""), "usb-backup", "local"), "guests:")
		want := desired(t, "guests:"+before)
		if _, text := b.plan(want); !strings.Contains(text, "test a backup of dns") || strings.Contains(text, "blocked") {
			t.Error(text)
		}
		r := b.once(want)
		if last := lastTest(t, b); last.Verdict != state.VerdictWorks || r.ExitCode() != 0 {
			t.Errorf("exit code %d, %+v\n%s\n%s", r.ExitCode(), last, b.events, b.closing(r))
		}
	})
}

// Without a good test for longer than warn-after the object is overdue, which is told but is no failure of the run; a
// good one ends it.
func TestARestoreTestThatIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, want := testBench(t, `[{unit: nginx}]`) // which there is not
		if r := b.once(want); len(r.Plan.Blocked) != 1 || r.Plan.Blocked[0].Kind != BlockedFailed {
			t.Errorf("%+v", r.Plan.Blocked)
		}
		overdue := func(r *Report) (reason string) {
			for _, blocked := range r.Plan.Blocked {
				if blocked.Kind == BlockedOverdue && blocked.Object.Kind == spec.KindTest {
					reason = blocked.Reason
				}
			}
			return reason
		}
		b.sim.Advance(14 * 24 * time.Hour)
		b.again()
		if reason := overdue(b.once(want)); reason != "" {
			t.Errorf("after 14 days: %s", reason)
		}
		b.sim.Advance(2 * 24 * time.Hour)
		b.again()
		if reason := overdue(b.once(want)); reason != "no good restore test of dns since 22 Nov 18:02" {
			t.Errorf("after 16 days: %q", reason)
		}
		b.again()
		b.sim.Advance(8 * 24 * time.Hour)
		r := b.once(desired(t, strings.ReplaceAll(tested, " PROBE", "")))
		if reason := overdue(r); reason != "" || lastTest(t, b).Good == nil {
			t.Errorf("after a good test: %q, %+v", reason, r.Plan.Blocked)
		}
	})
}

// The plan of a real restore tells that its backup was restored before, and how long that took.
func TestAPlanTellsThatItsBackupWasTested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, want := testBench(t, "")
		b.once(want)
		good := lastTest(t, b).Good
		if good == nil {
			t.Fatal(b.events)
		}
		b.as("POST", "/nodes/pve1/lxc/101/status/stop")
		b.as("DELETE", "/nodes/pve1/lxc/101")
		b.agent.O.Only = []spec.Ref{{Kind: spec.KindGuest, Name: "dns"}} // it is named, so it is to come back
		_, text := b.plan(want)
		if !strings.Contains(text, "(restored in a test on 22 Nov in ") {
			t.Errorf("%+v\n%s", good, text)
		}
	})
}

func volumesOn(t testing.TB, b *bench, storage string) []proxmox.StorageContent {
	t.Helper()
	all, err := b.client.Read().StorageContent(t.Context(), "pve1", storage, proxmox.ContentFilter{Content: "backup"})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// again is the agent as it is when its process is started again.
func (b *bench) again() { b.agent = New(b.agent.O) }

// A bystander is the way to a node on which somebody does something at the moment at which a task has ended, once.
type bystander struct {
	*pvesim.Sim
	task string
	do   func(s *pvesim.Sim)
	done string // the world afterwards
}

func (m *bystander) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := m.Sim.RoundTrip(req)
	if err != nil || m.done != "" || !strings.Contains(req.URL.Path, ":"+m.task+":9900:") || !strings.HasSuffix(req.URL.Path, "/status") {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	if res.Body = io.NopCloser(bytes.NewReader(body)); err == nil && bytes.Contains(body, []byte(`"stopped"`)) {
		m.do(m.Sim)
		m.done = m.Sim.String()
	}
	return res, err
}

// What somebody does to a test guest decides: where one guard is missing, it is named and never deleted or stopped,
// and nothing more is tested.
func TestATestGuestThatSomebodyAdoptsIsLeftAlone(t *testing.T) {
	config := func(key, value string) func(s *pvesim.Sim) {
		return func(s *pvesim.Sim) {
			s.Do("root@pam", "PUT", "/nodes/pve1/lxc/9900/config", map[string]string{key: value})
		}
	}
	for name, c := range map[string]struct {
		do    func(s *pvesim.Sim)
		after string
		says  string
	}{
		"protected":            {config("protection", "1"), "vzrestore", "it is protected"},
		"protected, started":   {config("protection", "1"), "vzstart", "it is protected"},
		"renamed":              {config("hostname", "mine"), "vzrestore", "its hostname is mine"},
		"its notes are edited": {config("description", "mine now"), "vzstart", "do not have the mark"},
		"a snapshot": {func(s *pvesim.Sim) {
			s.Do("root@pam", "POST", "/nodes/pve1/lxc/9900/snapshot", map[string]string{"snapname": "mine"})
			s.Advance(time.Minute)
		}, "vzrestore", "it has a snapshot"},
		"started by hand": {func(s *pvesim.Sim) { s.Shell("pve1", "pct start 9900"); s.Advance(time.Minute) }, "vzrestore", "it was started, and not by this test"},
		"out of the pool": {func(s *pvesim.Sim) {
			s.Do("root@pam", "PUT", "/pools/felhom-test", map[string]string{"vms": "9900", "delete": "1"})
		}, "vzrestore", "not in the pool"},
		"locked": {func(s *pvesim.Sim) { s.Shell("pve1", "pct set 9900 --lock migrate") }, "vzstart", "locked"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, want := testBench(t, "")
				sim, m := b.sim, &bystander{Sim: b.sim, task: c.after, do: c.do}
				token, _ := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
				var err error
				if b.agent.O.Client, err = proxmox.New(proxmox.Options{Transport: m, Token: token}); err != nil {
					t.Fatal(err)
				}
				b.again()
				r := b.once(want)
				done := m.done
				text := b.closing(r)
				if done == "" || !strings.Contains(text, "9900, the test guest of dns, is left alone") || !strings.Contains(text, c.says) || r.ExitCode() != 3 {
					t.Fatalf("exit code %d\n%s\n%s", r.ExitCode(), b.events, text)
				}
				if sim.String() != done {
					t.Errorf("it was touched:\n%s", pvesim.Diff(done, sim.String()))
				}
				b.sim.Advance(30 * 24 * time.Hour)
				b.again()
				b.once(want)
				if after := sim.String(); strings.Count(after, "vzrestore") != strings.Count(done, "vzrestore") || !strings.Contains(after, "9900") || strings.Contains(after, "9901") {
					t.Errorf("something more was tested:\n%s", pvesim.Diff(done, after))
				}
			})
		})
	}
}

// While the range is not for test guests alone nothing is tested, and a test guest whose journal is lost is named.
func TestAStrangerInTheRangeStopsAllTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sim *pvesim.Sim
		b, want := testBench(t, "")
		sim = b.sim
		volume := volumesOn(t, b, "usb-backup")[0].VolID
		sim.Do("root@pam", "POST", "/nodes/pve1/lxc", map[string]string{"vmid": "9905", "restore": "1", "ostemplate": volume, "storage": "local-lvm", "hostname": "felhom-test-dns", "pool": "felhom-test", "unique": "1"})
		sim.Advance(time.Hour)
		before := sim.String()
		r := b.once(want)
		if text := b.closing(r); !strings.Contains(text, "9905 (felhom-test-dns) is in the range 9900-9909") || sim.String() != before {
			t.Errorf("%s\n%s", text, pvesim.Diff(before, sim.String()))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		id := ""
		b, want := testBench(t, "", func(o *Options) { id = o.TestGuests.TokenID() })
		sim := b.sim
		volume := volumesOn(t, b, "usb-backup")[0].VolID
		notes := "<!-- felhom-agent/1 tests/weekly vmid=9903 owner=pve1 born=2026-11-22T17:00:00Z guest=dns test=0123456789ab -->"
		sim.Do(id, "POST", "/nodes/pve1/lxc", map[string]string{"vmid": "9903", "restore": "1", "ostemplate": volume, "storage": "local-lvm", "hostname": "felhom-test-dns", "pool": "felhom-test", "description": notes,
			"net0": "name=eth0,bridge=vmbr0,link_down=1"})
		sim.Advance(time.Hour)
		before := sim.String()
		r := b.once(want)
		if text := b.closing(r); !strings.Contains(text, "9903 (felhom-test-dns) is a guest of a restore test that the journal does not know") || !strings.Contains(text, "pct destroy 9903") || sim.String() != before {
			t.Errorf("%s\n%s", text, pvesim.Diff(before, sim.String()))
		}
	})
}

// What keeps a test from finding anything out never counts as good, and nothing is begun.
func TestWhatCannotBeVerifiedIsNotGood(t *testing.T) {
	for name, c := range map[string]struct {
		yaml, says string
		begun      bool
		option     func(*Options)
		do         func(s *pvesim.Sim)
	}{
		"no token": {says: "restore tests need a token of their own", option: func(o *Options) { o.TestGuests = nil }},
		"no room": {says: "must stay free", do: func(s *pvesim.Sim) {
			s.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/resize", map[string]string{"disk": "rootfs", "size": "510G"}) // of 500 GiB, which is in the backup that is due
			s.Advance(25 * time.Hour)
		}},
		"no such storage":     {says: "storage nowhere does not exist", yaml: "storage: nowhere, vmids: 9900-9909"},
		"root helper refuses": {says: "root has not opened this guest to probes", begun: true, yaml: "storage: local-lvm, vmids: 9920-9929"},
		"root helper away":    {says: "the root helper does not answer", begun: true, option: func(o *Options) { o.Runner = deafRunner{o.Runner} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				options := []func(*Options){}
				if c.option != nil {
					options = append(options, c.option)
				}
				b, _ := testBench(t, "", options...)
				text := strings.ReplaceAll(tested, " PROBE", "")
				if c.yaml != "" {
					text = strings.ReplaceAll(text, "storage: local-lvm, vmids: 9900-9909", c.yaml)
				}
				if c.do != nil {
					c.do(b.sim)
				}
				base, _, _ := strings.Cut(text, "tests:")
				b.once(desired(t, base))
				before := b.sim.String()
				r := b.once(desired(t, text))
				last := lastTest(t, b)
				if said := b.closing(r); !strings.Contains(said, c.says) || last.Good != nil || r.ExitCode() != 3 {
					t.Errorf("exit code %d, %+v\n%s\n%s", r.ExitCode(), last, b.events, said)
				}
				if b.sim.String() != before {
					t.Errorf("something is left:\n%s", pvesim.Diff(before, b.sim.String()))
				}
				if c.begun != strings.Contains(b.events.String(), " as 99") {
					t.Errorf("%s", b.events)
				}
			})
		})
	}
}

// A deafRunner is a root helper that does not answer questions about guests.
type deafRunner struct{ privileged.Runner }

func (d deafRunner) Ask(ctx context.Context, q privileged.Query) (privileged.Answer, error) {
	if q.Name == "Probe" {
		return privileged.Answer{}, errors.New("connection refused")
	}
	return d.Runner.Ask(ctx, q)
}

// TestCrashInARestoreTest ends the agent at every point of a restore test and starts it again: the end is the same.
func TestCrashInARestoreTest(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(tested, " PROBE", ", probe: [{unit: dnsmasq}]")
	before, _, _ := strings.Cut(text, "tests:")
	base, want := desired(t, before), desired(t, text)
	var calm *crashLife
	killed, equal := 0, 0
	life := func(at string) *crashLife {
		l := &crashLife{n: map[string]int{}}
		synctest.Test(t, func(t *testing.T) {
			l.sim = pvesim.New()
			l.sim.Furnish(101, dnsmasq)
			fence := &privileged.Local{Host: l.sim.Host(l.sim.Node())}
			defer fence.Wait()
			l.also = testsThrough(t, l.sim, l)
			_, journal := l.once(t, base, fence, nil)
			l.lives(t, want, fence, at, journal.Mem.Bytes(), func(r *Report) error {
				if r.ExitCode() != 0 || r.Plan.Tests["dns"].Verdict != state.VerdictWorks {
					return fmt.Errorf("it ends with %d, %+v, %+v", r.ExitCode(), r.Plan.Tests, r.Plan.Blocked)
				}
				return nil
			})
		})
		return l
	}
	if calm = life(""); calm.err != nil {
		t.Fatal(calm.err)
	}
	for _, at := range calm.points {
		l := life(at)
		switch {
		case l.err != nil:
			t.Errorf("killed at %s: %v", at, l.err)
		case !l.killed:
			continue
		case l.world != calm.world:
			t.Errorf("killed at %s, the world is another one (- undisturbed, + resumed):\n%s", at, cmp.Diff(calm.world, l.world))
		default:
			equal++
		}
		killed++
	}
	if killed < len(calm.points)*9/10 || len(calm.points) < 20 {
		t.Errorf("only %d of %d points were reached", killed, len(calm.points))
	}
	t.Logf("%d kill points, %d equal", killed, equal)
}

// testsThrough gives an agent the token of restore tests, whose requests go a given way.
func testsThrough(t testing.TB, sim *pvesim.Sim, way http.RoundTripper) func(*Options) {
	plain := withTests(t, sim)
	return func(o *Options) {
		plain(o)
		id, secret := sim.AllowTests(proxmox.TestPool)
		token, err := proxmox.NewTestToken(id, secret)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if o.TestGuests, err = proxmox.NewTestGuests(proxmox.Options{Transport: way, Token: own}, token, proxmox.TestPool); err != nil {
			t.Fatal(err)
		}
	}
}

// Lost answers, failing tasks and slow nodes end a test like a calm one, or leave what is named.
func TestATestSurvivesFaults(t *testing.T) {
	steps := map[string]string{"POST /nodes/pve1/lxc": "task vzrestore", "POST */9900/status/start": "task vzstart", "POST */9900/status/stop": "task vzstop", "DELETE /nodes/pve1/lxc/9900": "task vzdestroy"}
	for match, task := range steps {
		for _, f := range []world.Fault{{Match: match, Effect: "lost"}, {Match: match, Effect: "lost-after"}, {Match: match, Effect: "refused"}, {Match: match, Effect: "late"}, {Match: match, Effect: "eof-after"},
			{Match: match, Effect: "error", Text: "got timeout"}, {Match: match, Effect: "error-after", Text: "got timeout"}, {Match: task, Effect: "fail", Text: "exit code 1"}} {
			t.Run(f.Match+" "+f.Effect, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, want := testBench(t, "")
					before := b.sim.String()
					if err := b.sim.Inject(f); err != nil {
						t.Fatal(err)
					}
					for range 3 {
						b.again()
						b.once(want)
						b.sim.Advance(20 * time.Minute)
					}
					b.sim.Heal()
					b.again()
					r := b.once(want)
					if f.Match == "task vzdestroy" { // PVE leaves its lock, and a token cannot go on
						if text := b.closing(r); !strings.Contains(text, "9900, the test guest of dns, is left alone") || !strings.Contains(text, "it is locked (destroyed)") || !strings.Contains(text, "pct unlock 9900") {
							t.Errorf("%s\n%s", b.events, text)
						}
					} else if after := b.sim.String(); after != before {
						t.Errorf("something is left:\n%s\n%s", pvesim.Diff(before, after), b.events)
					}
					if last := lastTest(t, b); last.Verdict == "" {
						t.Errorf("nothing is known: %+v\n%s", last, b.events)
					}
				})
			})
		}
	}
}
