package pvesim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A replay makes the requests that somebody made to a real node again to the
// simulator, in their order, and compares the answers. All it needs are files:
//
//	go test ./proxmox/pvesim -run Replay -v -replay.file F -replay.world W -replay.steps S
//
// F holds an exchange a line (type exchange), W the world as it was before the first
// of them (a world file), S what happened on the host between two of them (type steps).
var (
	replayFile  = flag.String("replay.file", "../shared/recordings/exchanges.jsonl", "the recorded exchanges, one JSON object a line")
	replayWorld = flag.String("replay.world", "testdata/replay/world.yaml", "the world file that the replay starts from")
	replaySteps = flag.String("replay.steps", "testdata/replay/steps.yaml", "what changed on the host between two exchanges")
)

// mustMatch is the share of exchanges that must match.
const mustMatch = 0.98

// An exchange is a request and the answer of a real node.
type exchange struct {
	Name         string            `json:"name"`
	Auth         string            `json:"auth"` // a user or token, "root@pam (ticket)", none, or an Authorization header
	Method       string            `json:"method"`
	Path         string            `json:"path"`
	Form         map[string]any    `json:"form"`
	Body         *string           `json:"body"`
	StatusLine   string            `json:"status_line"`
	Headers      map[string]string `json:"headers"`
	ExtraHeaders map[string]string `json:"extra_headers"`
	Response     string            `json:"response"`
	Elapsed      float64           `json:"elapsed_s"`
}

// find opens a file as given, or below the repository's root.
func find(t *testing.T, path string) []byte {
	t.Helper()
	for _, p := range []string{path, filepath.Join("../..", path)} {
		if text, err := os.ReadFile(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	return nil
}

func readExchanges(t *testing.T, path string) []exchange {
	t.Helper()
	text := find(t, path)
	if text == nil {
		t.Skipf("no recorded exchanges at %s; name them with -replay.file", path)
	}
	var all []exchange
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s:%d: %v", path, len(all)+1, err)
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatalf("%s: %d exchanges, %v", path, len(all), err)
	}
	return all
}

// secondNode is what was recorded on another node, with its world and steps.
var secondNode = [3]string{"../shared/recordings/exchanges-2.jsonl", "testdata/replay/world-2.yaml", "testdata/replay/steps-2.yaml"}

func TestReplay(t *testing.T) { replayAll(t, *replayFile, *replayWorld, *replaySteps) }

func TestReplayOfTheSecondNode(t *testing.T) {
	if *replayFile != flag.Lookup("replay.file").DefValue {
		t.Skip("another recording was named")
	}
	replayAll(t, secondNode[0], secondNode[1], secondNode[2])
}

// replayAll makes recorded requests again and counts the answers that match.
func replayAll(t *testing.T, file, worldFile, stepFile string) {
	all := readExchanges(t, file)
	world, stepText := find(t, worldFile), find(t, stepFile)
	if world == nil || stepText == nil {
		t.Fatalf("a replay needs a world and steps: %s, %s", worldFile, stepFile)
	}
	plan, err := readSteps(stepText)
	if err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	var wrong []string // what a synctest bubble must not report itself: it would end the test at once
	matched := 0
	synctest.Test(t, func(t *testing.T) {
		sim, err := Load(world)
		if err != nil {
			t.Fatal(err)
		}
		r := newReplay(sim, all, plan)
		for i := range all {
			if why := r.exchange(i); why != "" {
				fmt.Fprintf(&report, "%4d %s: %s\n", i+1, all[i].Name, why)
				continue
			}
			matched++
		}
		for _, s := range plan.Steps {
			if !s.done {
				fmt.Fprintf(&report, "a step was never reached: before %s (nth %d)\n", s.Before, max(s.Nth, 1))
			}
		}
		wrong = r.mistakes
	})
	t.Logf("%d of %d recorded exchanges match", matched, len(all))
	if report.Len() > 0 {
		t.Logf("those that do not:\n%s", report.String())
	}
	for _, text := range wrong {
		t.Error(text)
	}
	if float64(matched) < mustMatch*float64(len(all)) {
		t.Errorf("%d of %d recorded exchanges match; at least %.0f %% must", matched, len(all), 100*mustMatch)
	}
}

// A replay is under way.
type replay struct {
	mistakes []string // of the steps

	sim   *Sim
	all   []exchange
	plan  *stepPlan
	times map[string]int // how often a name came
	known *likeness
	lasts map[string]time.Duration // by recorded UPID, where the recording tells
	next  map[string]time.Duration // by "type id", for the task that starts next
	works map[string]bool          // the recorded UPIDs that some answer shows at work
	kept  map[string]bool          // "type id" of tasks that run on
	open  []string                 // tasks of the simulator whose end no answer waits for
}

func newReplay(sim *Sim, all []exchange, plan *stepPlan) *replay {
	r := &replay{sim: sim, all: all, plan: plan, times: make(map[string]int), known: newLikeness(),
		lasts: make(map[string]time.Duration), next: make(map[string]time.Duration), works: make(map[string]bool), kept: make(map[string]bool)}
	for _, e := range all {
		if u := upidTextRE.FindString(unescape(e.Path)); u != "" && strings.Contains(e.Response, `"status":"running"`) {
			r.works[u] = true
		}
		for _, m := range runningRE.FindAllString(e.Response, -1) {
			r.works[upidTextRE.FindString(m)] = true
		}
		for _, m := range finishedRE.FindAllString(e.Response, -1) {
			var task struct {
				UPID       string
				Start, End int64
			}
			task.UPID = upidTextRE.FindString(m)
			task.Start = number(startRE, m)
			task.End = number(endRE, m)
			if task.UPID != "" && task.End > 0 {
				r.lasts[task.UPID] = max(time.Duration(task.End-task.Start)*time.Second, 200*time.Millisecond)
			}
		}
	}
	r.rule()
	return r
}

var (
	upidTextRE = regexp.MustCompile(`UPID:[A-Za-z0-9-]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s/"]+:[^:\s/"]*:[^:\s/"]+:`)
	finishedRE = regexp.MustCompile(`\{[^{}]*"endtime":[^{}]*\}`)
	runningRE  = regexp.MustCompile(`\{[^{}]*"saved":"0"[^{}]*\}`)
	startRE    = regexp.MustCompile(`"starttime":(\d+)`)
	endRE      = regexp.MustCompile(`"endtime":(\d+)`)
	stoppedRE  = regexp.MustCompile(`"status":"stopped"`)
)

func number(re *regexp.Regexp, text string) int64 {
	m := re.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(m[1], 10, 64)
	return n
}

func (r *replay) wrong(format string, args ...any) {
	r.mistakes = append(r.mistakes, fmt.Sprintf(format, args...))
}

// rule sets how long tasks take: as long as recorded where that is known, else a second.
func (r *replay) rule() {
	r.sim.SetDuration(func(t cluster.TaskInfo) time.Duration {
		key := t.Type + " " + t.ID
		if d, ok := r.next[key]; ok {
			delete(r.next, key)
			return d
		}
		return time.Second
	})
}

// exchange makes one recorded request; it says why the answer does not match.
func (r *replay) exchange(i int) string {
	e := r.all[i]
	r.times[e.Name]++
	for _, s := range r.plan.Steps {
		if s.Before == e.Name && max(s.Nth, 1) == r.times[e.Name] && !s.done {
			s.done = true
			if err := r.step(s); err != nil {
				r.wrong("%d %s: a step before it: %v", i+1, e.Name, err)
			}
		}
	}
	for _, upid := range r.open {
		r.finish(upid)
	}
	r.open = nil
	r.await(e)
	req, err := r.request(e)
	if err != nil {
		return "the request cannot be made: " + err.Error()
	}
	began := time.Now()
	res, err := r.sim.RoundTrip(req)
	if err != nil {
		return "no answer: " + err.Error()
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "no whole body: " + err.Error()
	}
	why := r.known.compare(e, res, string(body))
	if u := answeredUPID(e.Response); u != "" && !r.works[u] && !r.kept[kindAndID(u)] && r.known.now(u) != "" {
		r.open = append(r.open, r.known.now(u))
	}
	if took := time.Since(began); why == "" && (res.StatusCode == 401 && took < 3*time.Second || res.StatusCode == 596 && e.Elapsed > 29 && took < 30*time.Second) {
		why = fmt.Sprintf("it took %v, the recorded one %.0f s", took, e.Elapsed)
	}
	return why
}

// await moves the clock to where the recorded answer was given, and lets the tasks end
// that ended there.
func (r *replay) await(e exchange) {
	if data := answeredUPID(e.Response); data != "" {
		f := strings.Split(data, ":")
		r.until(hexTime(f[4]))
		if d, ok := r.lasts[data]; ok {
			r.next[f[5]+" "+f[6]] = d
		}
		return
	}
	var ended []string
	if u := upidTextRE.FindString(unescape(e.Path)); u != "" && (stoppedRE.MatchString(e.Response) || strings.Contains(e.Response, `"t":"TASK `)) {
		ended = append(ended, u)
	}
	for _, m := range finishedRE.FindAllString(e.Response, -1) {
		ended = append(ended, upidTextRE.FindString(m))
	}
	for _, u := range ended {
		if now := r.known.now(u); now != "" {
			r.finish(now)
		}
	}
}

// answeredUPID is the UPID that a call answered with.
func answeredUPID(response string) string {
	var a struct{ Data any }
	if json.Unmarshal([]byte(response), &a) != nil {
		return ""
	}
	s, _ := a.Data.(string)
	if upidTextRE.MatchString(s) {
		return s
	}
	return ""
}

// kindAndID is "vzdump 101" of a UPID.
func kindAndID(upid string) string {
	f := strings.Split(upid, ":")
	return f[5] + " " + f[6]
}

func hexTime(s string) time.Time {
	n, _ := strconv.ParseInt(s, 16, 64)
	return time.Unix(n, 0)
}

func (r *replay) until(at time.Time) {
	if d := at.Sub(r.sim.Now()); d > 0 {
		r.sim.Advance(d)
	}
}

// finish lets simulated time pass until a task of the simulator has ended.
func (r *replay) finish(upid string) {
	for range 36000 {
		if !r.runs(upid) {
			return
		}
		r.sim.Advance(100 * time.Millisecond)
	}
	r.wrong("an hour later this task still runs: %s", upid)
}

func (r *replay) runs(upid string) bool {
	defer r.sim.cl.Enter()()
	for _, n := range r.sim.cl.World.Nodes {
		if t := n.ByUPID[upid]; t != nil && t.End == 0 {
			return true
		}
	}
	return false
}

// request is the recorded request with what the simulator calls things.
func (r *replay) request(e exchange) (*http.Request, error) {
	for _, u := range upidTextRE.FindAllString(unescape(e.Path), -1) {
		if r.known.now(u) == "" {
			if now := r.unnamed(u); now != "" {
				r.known.learn(u, now)
			}
		}
	}
	r.archives(e)
	var body io.Reader
	var form url.Values
	switch {
	case e.Form != nil:
		form = make(url.Values)
		for k, v := range e.Form {
			switch v := v.(type) {
			case string:
				form.Set(k, r.known.translate(v))
			case float64:
				form.Set(k, strconv.FormatFloat(v, 'f', -1, 64))
			default:
				form.Set(k, fmt.Sprint(v))
			}
		}
		if d := form.Get("digest"); d != "" && r.known.now(d) == "" && strings.HasPrefix(e.StatusLine, "HTTP/1.1 200") {
			// A digest that the recording shows nowhere else, and that was the right one.
			if now := r.digestOf(e.Path); now != "" {
				r.known.learn(d, now)
				form.Set("digest", now)
			}
		}
		body = strings.NewReader(form.Encode())
	case e.Body != nil:
		body = strings.NewReader(*e.Body)
	}
	req, err := http.NewRequest(e.Method, "https://node:8006"+r.known.translate(e.Path), body)
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range e.ExtraHeaders {
		req.Header.Set(k, v)
	}
	return req, r.credentials(req, e.Auth)
}

// credentials are those of who asked: the recording knows names, the world their secrets.
func (r *replay) credentials(req *http.Request, auth string) error {
	if name, ok := r.plan.Auth[auth]; ok {
		auth = name
	}
	switch {
	case auth == "none" || auth == "":
		return nil
	case strings.HasPrefix(auth, "PVEAPIToken"):
		req.Header.Set("Authorization", auth)
		return nil
	case strings.HasSuffix(auth, " (ticket)"):
		return r.login(req, strings.TrimSuffix(auth, " (ticket)"))
	}
	secret, ok := r.sim.Tokens()[auth]
	if !ok {
		return fmt.Errorf("the world has no token %q", auth)
	}
	req.Header.Set("Authorization", "PVEAPIToken="+auth+"="+secret)
	return nil
}

// login gets a ticket with the password that the world holds.
func (r *replay) login(req *http.Request, user string) error {
	var password string
	for _, u := range r.sim.cl.World.Access.Users {
		if u.ID == user {
			password = u.Password
		}
	}
	status, body := r.sim.Do("root@pam", "POST", "/access/ticket", map[string]string{"username": user, "password": password})
	var a struct {
		Data struct{ Ticket, CSRFPreventionToken string }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 {
		return fmt.Errorf("no ticket for %s: %d %s", user, status, body)
	}
	req.Header.Set("Cookie", "PVEAuthCookie="+url.QueryEscape(a.Data.Ticket))
	req.Header.Set("CSRFPreventionToken", a.Data.CSRFPreventionToken)
	return nil
}

// unnamed is the newest task of the simulator that is like a recorded one whose start was not recorded.
func (r *replay) unnamed(recorded string) string {
	f := strings.Split(recorded, ":")
	r.sim.cl.Mu.Lock()
	defer r.sim.cl.Mu.Unlock()
	var all []*world.Task
	for _, n := range r.sim.cl.World.Nodes {
		if n.Name == f[1] {
			all = append(all, n.Tasks...)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Start > all[j].Start })
	for _, t := range all {
		if t.Type == f[5] && t.ID == f[6] && t.User == f[7] && r.known.then(t.UPID()) == "" {
			return t.UPID()
		}
	}
	return ""
}

var archiveNameRE = regexp.MustCompile(`vzdump-(?:lxc|qemu)-\d+-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)`)

// archives finds what a request means by an archive whose making was not recorded: that of
// the same guest which was made a moment before or after.
func (r *replay) archives(e exchange) {
	text := unescape(e.Path)
	for _, v := range e.Form {
		text += " " + fmt.Sprint(v)
	}
	for _, m := range archiveNameRE.FindAllStringSubmatch(text, -1) {
		if r.known.now(m[0]) != "" {
			continue
		}
		at, err := time.Parse("2006_01_02-15_04_05", m[1])
		if err != nil {
			continue
		}
		for _, off := range []time.Duration{0, -1, 1, -2, 2, -3, 3} {
			name := strings.TrimSuffix(m[0], m[1]) + at.Add(off*time.Second).Format("2006_01_02-15_04_05")
			if r.stored(name) && r.known.then(name) == "" {
				r.known.learn(m[0], name)
				break
			}
		}
	}
}

// stored reports whether some storage holds an archive of that name.
func (r *replay) stored(archive string) bool {
	text, err := r.sim.Save()
	return err == nil && bytes.Contains(text, []byte("backup/"+archive+"."))
}

var guestPathRE = regexp.MustCompile(`/lxc/(\d+)/`)

// digestOf is the digest that the guest of a path has now.
func (r *replay) digestOf(path string) string {
	m := guestPathRE.FindStringSubmatch(path)
	if m == nil {
		return ""
	}
	r.sim.cl.Mu.Lock()
	defer r.sim.cl.Mu.Unlock()
	if g := r.sim.cl.Guests[notation.Atoi(m[1])]; g != nil {
		return g.Conf.Sum()
	}
	return ""
}

func unescape(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}
