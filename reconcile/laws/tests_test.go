package laws

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// TestLawTests: a restore test never touches what is not its own, whatever people do in the range of its guests,
// whatever answers are lost, and wherever the agent is killed: each write to a guest of the range, and above all each
// deletion, is to one that a restore of the journal has made, under its nonce, in the pool. All else stays as it
// was. When nothing more goes wrong, nothing of a test is left but what somebody has taken over, and that is named.
func TestLawTests(t *testing.T) {
	deleted, meddled, kills, dir := 0, 0, 0, t.TempDir()
	n, good := lives(t, 60, nil, func(t *testing.T, seed uint64) (broken, story []string) {
		s := newTestLife(t, seed, dir)
		s.run()
		deleted, meddled, kills = deleted+s.deleted, meddled+s.meddled, kills+s.kills
		return s.broken, s.story
	})
	if t.Logf("%d scenarios: %d deletions of test guests, %d times somebody meddled with one, %d kills", n, deleted, meddled, kills); good && n >= 100 && (deleted < n/3 || meddled < n/10 || kills < n/10) {
		t.Error("too little happens to put the law to the test")
	}
}

// A testLife is a node whose backups are tested, with what happens meanwhile.
type testLife struct {
	t     testing.TB
	r     *rand.Rand
	sim   *pvesim.Sim
	want  *spec.Desired
	base  *spec.Desired
	lines []byte // the journal
	store *reconcile.Store

	mu      sync.Mutex
	journal *reconcile.Journal
	cancel  context.CancelFunc
	dead    bool
	until   int // requests until it is killed; 0: never
	meddle  int // polls until somebody does something; 0: nobody does
	touched map[int]bool
	lost    bool // the journal was lost while a test guest was there

	deleted, meddled, kills int
	broken, story           []string
}

func newTestLife(t testing.TB, seed uint64, dir string) *testLife {
	s := &testLife{t: t, r: rand.New(rand.NewPCG(seed, 7)), sim: pvesim.New(), touched: map[int]bool{}, store: reconcile.MemoryStore()}
	s.sim.AllowTests(proxmox.TestPool)
	if err := s.sim.PutFile(privileged.PolicyPath, []byte(`{"tests": "9900-9903"}`)); err != nil {
		t.Fatal(err)
	}
	h := &lawHousehold{backupDisk: true}
	h.guests = append(h.guests, &lawWish{name: "dns", section: "guests", vmid: 101, memory: 512})
	h.backups = append(h.backups, &lawBackup{name: "b0", guests: "all", every: 24 * 60})
	load := func() *spec.Desired {
		want, err := h.load(dir)
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	s.base, s.want = load(), load()
	s.want.Tests["t"] = &spec.Test{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindTest, Name: "t"}}, All: true, Storage: "local-lvm", VMIDs: spec.VMIDRange{First: 9900, Last: 9903},
		Every: 24 * time.Hour, KeepAwake: time.Minute}
	s.want.Hash += "+tests"
	inside := world.Inside{Boots: s.r.IntN(80), Units: map[string]string{"a.service": pick(s.r, "active", "active", "failed")}, NoSystemd: s.r.IntN(4) == 0}
	s.sim.Furnish(101, inside)
	return s
}

func (s *testLife) tell(format string, args ...any) {
	s.story = append(s.story, s.sim.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (s *testLife) fails(format string, args ...any) {
	s.broken = append(s.broken, "tests: "+fmt.Sprintf(format, args...))
	s.tell("BROKEN %s", s.broken[len(s.broken)-1])
}

// outside is the world without the range of the tests.
func (s *testLife) outside() string {
	var kept []string
	inRange := false
	for line := range strings.Lines(s.sim.String()) {
		if strings.HasPrefix(line, "guest ") || strings.HasPrefix(line, "node ") {
			inRange = strings.HasPrefix(line, "guest 99")
		}
		if !inRange && !strings.Contains(line, "vm-99") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func (s *testLife) run() {
	s.live(s.base, 0, 0)
	before := s.outside()
	for range 1 + s.r.IntN(3) {
		for range s.r.IntN(3) {
			s.fault()
		}
		s.meddle = s.r.IntN(30)
		if s.r.IntN(3) == 0 {
			s.person()
		}
		s.live(s.want, s.r.IntN(120), s.meddle)
		if s.r.IntN(12) == 0 {
			s.tell("the journal is lost")
			s.lines, s.store = nil, reconcile.MemoryStore()
			s.lost = s.lost || len(s.inRange()) > 0
		}
		s.sim.Advance(time.Duration(1+s.r.IntN(30)) * time.Hour)
	}
	s.sim.Heal()
	for range 3 {
		s.sim.Advance(2 * time.Hour)
		report := s.live(s.want, 0, 0)
		if report == nil {
			continue
		}
		s.left(report)
	}
	if after := s.outside(); after != before {
		s.fails("outside of the range something has changed:\n%s", pvesim.Diff(before, after))
	}
}

// left judges what is there after a run in which nothing went wrong.
func (s *testLife) left(report *reconcile.Report) {
	for _, vmid := range s.inRange() {
		_, conf := s.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/lxc/%d/config", vmid), nil)
		locked := strings.Contains(conf, `"lock":`)
		named := slices.ContainsFunc(report.Plan.Blocked, func(b reconcile.Blocked) bool { return strings.Contains(b.Reason, strconv.Itoa(vmid)) })
		switch {
		case !named && report.ExitCode() != 1:
			s.fails("%d is there after a calm run, and nothing names it", vmid)
		case !s.touched[vmid] && !s.lost && !locked && report.ExitCode() != 1:
			s.fails("%d is left after a calm run, and nobody has touched it: %s", vmid, conf)
		}
	}
}

// inRange are the guests with a VMID of the range.
func (s *testLife) inRange() (all []int) {
	for vmid := 9900; vmid <= 9903; vmid++ {
		if status, _ := s.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/lxc/%d/config", vmid), nil); status == 200 {
			all = append(all, vmid)
		}
	}
	return all
}

// fault lets something go wrong.
func (s *testLife) fault() {
	f := world.Fault{Skip: s.r.IntN(3), Times: 1 + s.r.IntN(2)}
	if s.r.IntN(2) == 0 {
		f.Match = pick(s.r, "POST /nodes/pve1/lxc", "POST *status/start", "POST *status/stop", "DELETE *", "GET *config", "GET *resources*", "GET *status*")
		f.Effect = pick(s.r, "refused", "lost", "late", "eof", "error", "slow")
		if !strings.HasPrefix(f.Match, "GET") {
			f.Effect = pick(s.r, "refused", "lost", "lost-after", "late", "eof", "eof-after", "error", "error-after")
		}
	} else {
		f.Match, f.Effect = pick(s.r, "task vzrestore", "task vzstart", "task vzstop", "task vzdestroy"), pick(s.r, "fail", "die", "warn", "hollow")
	}
	if f.Text = "got timeout"; s.sim.Inject(f) == nil {
		s.tell("fault %s %s, skip %d, times %d", f.Match, f.Effect, f.Skip, f.Times)
	}
}

// person does something in the range.
func (s *testLife) person() {
	guests := s.inRange()
	if len(guests) == 0 || s.r.IntN(5) == 0 {
		s.stranger()
		return
	}
	vmid := guests[s.r.IntN(len(guests))]
	path := fmt.Sprintf("/nodes/pve1/lxc/%d", vmid)
	config := func(key, value string) int {
		status, _ := s.sim.Do("root@pam", "PUT", path+"/config", map[string]string{key: value})
		return status
	}
	what, status := "", 0
	switch s.r.IntN(8) {
	case 0:
		what, status = "protects", config("protection", "1")
	case 1:
		what, status = "edits the notes of", config("description", "mine now")
	case 2:
		what, status = "renames", config("hostname", "mine")
	case 3:
		what = "takes a snapshot of"
		status, _ = s.sim.Do("root@pam", "POST", path+"/snapshot", map[string]string{"snapname": "mine"})
	case 4:
		what = "starts"
		status, _ = s.sim.Do("root@pam", "POST", path+"/status/start", nil)
	case 5:
		what = "takes out of the pool"
		status, _ = s.sim.Do("root@pam", "PUT", "/pools/felhom-test", map[string]string{"vms": strconv.Itoa(vmid), "delete": "1"})
	case 6:
		what = "stops"
		status, _ = s.sim.Do("root@pam", "POST", path+"/status/stop", nil)
	case 7:
		what = "destroys"
		s.sim.Do("root@pam", "POST", path+"/status/stop", nil)
		s.sim.Advance(10 * time.Second)
		status, _ = s.sim.Do("root@pam", "DELETE", path, nil)
		s.sim.Advance(10 * time.Second)
		if s.r.IntN(2) == 0 && status == 200 {
			s.stranger()
		}
	}
	if status == 200 {
		s.touched[vmid] = true
		s.meddled++
		s.tell("somebody %s %d", what, vmid)
	}
}

// stranger is a guest of somebody in the range, which looks like one of a test.
func (s *testLife) stranger() {
	_, list := s.sim.Do("root@pam", "GET", "/nodes/pve1/storage/usb-backup/content?content=backup", nil)
	volid := regexp.MustCompile(`usb-backup:backup/[^"]+`).FindString(list)
	vmid := 9900 + s.r.IntN(4)
	params := map[string]string{"vmid": strconv.Itoa(vmid), "restore": "1", "ostemplate": volid, "storage": "local-lvm", "hostname": "felhom-test-dns", "unique": "1",
		"description": pick(s.r, "", "<!-- felhom-agent/1 tests/t vmid="+strconv.Itoa(vmid)+" owner=pve1 guest=dns test=0123456789ab -->")}
	if s.r.IntN(2) == 0 {
		params["pool"] = proxmox.TestPool
	}
	if status, _ := s.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", params); status == 200 {
		s.sim.Advance(time.Minute)
		s.touched[vmid] = true
		s.meddled++
		s.tell("somebody makes a guest %d that looks like one of a test", vmid)
	}
}

// live is one life of the agent: a run, that may be killed.
func (s *testLife) live(want *spec.Desired, until, meddle int) *reconcile.Report {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(s.t.Context())
	defer s.cancel()
	s.dead, s.until, s.meddle = false, until, meddle
	journal := reconcile.MemoryJournal()
	journal.Mem.Write(s.lines)
	journal.Parse(s.lines)
	journal.Barrier = func(reconcile.Entry) error {
		if s.hit() {
			return reconciletest.ErrKilled
		}
		return nil
	}
	s.journal = journal
	own, err := proxmox.NewToken(s.sim.TokenID(), s.sim.TokenSecret())
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: s, Token: own})
	if err != nil {
		s.t.Fatal(err)
	}
	id, secret := s.sim.AllowTests(proxmox.TestPool)
	token, err := proxmox.NewTestToken(id, secret)
	if err != nil {
		s.t.Fatal(err)
	}
	tests, err := proxmox.NewTestGuests(proxmox.Options{Transport: s, Token: own}, token, proxmox.TestPool)
	if err != nil {
		s.t.Fatal(err)
	}
	fence := &privileged.Local{Host: s.sim.Host("pve1")}
	defer fence.Wait()
	o := reconcile.Options{Source: reconcile.Source{Node: "pve1", Owner: "pve1", TokenID: s.sim.TokenID()}, Client: client, TestGuests: tests, Runner: fence, Journal: journal, Store: s.store,
		Events: func(e reconcile.Event) {
			if e.State != "running" {
				s.mu.Lock()
				s.tell("  %s %s %s %s", e.Object, e.Verb, e.State, e.Text)
				s.mu.Unlock()
			}
		}}
	report, err := reconcile.New(o).Once(ctx, want)
	s.mu.Lock()
	s.lines = bytes.Clone(journal.Mem.Bytes())
	s.mu.Unlock()
	if err != nil {
		s.tell("the run ends: %v", err)
		return nil
	}
	return report
}

// hit counts down to a kill, and reports whether the agent is dead.
func (s *testLife) hit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead && s.until > 0 {
		if s.until--; s.until == 0 {
			s.dead = true
			s.kills++
			s.tell("the agent is killed")
			s.cancel()
		}
	}
	return s.dead
}

// RoundTrip is the way of every request, with either token.
func (s *testLife) RoundTrip(req *http.Request) (*http.Response, error) {
	travel(req.Context(), 0, req.Method+req.URL.Path+req.URL.RawQuery)
	if s.hit() {
		return nil, reconciletest.ErrKilled
	}
	s.mu.Lock()
	if req.Method != http.MethodGet {
		s.judge(req)
	} else if s.meddle > 0 && strings.HasSuffix(req.URL.Path, "/status") && strings.Contains(req.URL.Path, "/tasks/") {
		if s.meddle--; s.meddle == 0 { // while a task is waited for: what is read later is what is acted upon
			s.person()
		}
	}
	s.mu.Unlock()
	res, err := s.sim.RoundTrip(req)
	if req.Method != http.MethodGet && s.hit() {
		return nil, reconciletest.ErrKilled
	}
	return res, err
}

var (
	lawTestNonce = regexp.MustCompile(`test=([0-9a-f]{12})`)
	lawTestGuest = regexp.MustCompile(`/lxc/(99\d\d)(/|$)`)
)

// judge looks at the world before a write.
func (s *testLife) judge(req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/api2/json")
	m := lawTestGuest.FindStringSubmatch(path)
	destroys := req.Method == http.MethodDelete && regexp.MustCompile(`^/nodes/[^/]+/(lxc|qemu)/\d+$`).MatchString(path)
	if m == nil {
		if destroys {
			s.fails("a guest outside of the range is deleted: %s", path)
		}
		return
	}
	_, conf := s.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/"+m[1]+"/config", nil)
	_, pool := s.sim.Do("root@pam", "GET", "/pools/felhom-test", nil)
	_, snapshots := s.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/"+m[1]+"/snapshot", nil)
	nonce := lawTestNonce.FindStringSubmatch(conf)
	what := req.Method + " " + path
	switch {
	case nonce == nil:
		s.fails("%s: its notes have no nonce: %s", what, conf)
	case !regexp.MustCompile(`"step":"intent".*"verb":"test",.*"makes":"` + m[1] + `".*"test":"` + nonce[1] + `"`).Match(s.journal.Mem.Bytes()):
		s.fails("%s: no restore of the journal has the nonce %s", what, nonce[1])
	case !strings.Contains(pool, `"vmid":`+m[1]):
		s.fails("%s: it is not in the pool", what)
	case strings.Contains(conf, `"protection":1`):
		s.fails("%s: it is protected", what)
	case strings.Contains(snapshots, `"mine"`):
		s.fails("%s: it has a snapshot of somebody", what)
	case !strings.Contains(conf, "felhom-test-dns"):
		s.fails("%s: somebody has renamed it", what)
	}
	if destroys {
		s.deleted++
	}
}
