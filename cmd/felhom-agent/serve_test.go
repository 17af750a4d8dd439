package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// observed converges a folder on a simulated node in memory, and returns an observer that has seen it.
func observed(t *testing.T, desired string) *httpstatus.Observer {
	t.Helper()
	sim := simulated.FreshWorld()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Token: token, Transport: sim})
	if err != nil {
		t.Fatal(err)
	}
	n := &session.Session{
		Client: client, Runner: &privileged.Local{Host: sim.Host(sim.Node())}, Journal: reconcile.MemoryJournal(), Store: reconcile.OpenStore(t.TempDir()),
		Config: &config.Config{Token: token, Interval: 15 * time.Minute, Timeout: time.Minute}, Log: zap.NewNop(), World: &simulated.World{Sim: sim},
		Wait: proxmox.WaitOptions{Interval: 20 * time.Millisecond, Factor: 1.2, Cap: 100 * time.Millisecond},
	}
	n.Source = reconcile.Source{Node: sim.Node(), Owner: sim.Node(), TokenID: token.ID()}
	src := &source.Source{Path: desired, Read: (&command{path: desired, simulate: true}).load, Told: func(text string) { t.Error(text) }}
	want := src.Load()
	if want != nil && len(want.Tests) > 0 {
		if err := allowTests(n, sim); err != nil {
			t.Fatal(err)
		}
		n.Source.Tests = n.TestAccess()
	}
	o := httpstatus.NewObserver(n, src)
	agent := reconcile.New(optionsOf(n, "test", o.Event))
	result, err := agent.Once(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	o.Pass(agent, result.Plan, 15*time.Minute, nil)
	return o
}

// busy lets an observer know of operations that run, and of the last line of their logs.
func busy(t *testing.T, o *httpstatus.Observer) func(object spec.Ref, verb, line string, ago time.Duration) {
	t.Helper()
	dir := t.TempDir()
	return func(object spec.Ref, verb, line string, ago time.Duration) {
		t.Helper()
		file, err := os.OpenFile(filepath.Join(dir, "journal.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		entry := reconcile.Entry{Format: 1, Time: o.Node.World.Sim.Now().Add(-ago), Action: object.String() + verb, Step: "intent", Object: object.String(), Verb: verb, Text: verb}
		if err := json.NewEncoder(file).Encode(entry); err != nil {
			t.Fatal(err)
		}
		journal, err := reconcile.ReadJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		o.Mu.Lock()
		o.Node.Journal = journal
		o.Agent = reconcile.New(optionsOf(o.Node, "test", nil))
		o.Mu.Unlock()
		o.Event(reconcile.Event{Object: object, Verb: verb, State: "running", Text: line})
	}
}

func TestFourAddresses(t *testing.T) {
	t.Parallel()
	o := observed(t, "../../examples/desired")
	end := time.Date(2028, 11, 20, 0, 0, 0, 0, time.UTC)
	o.Expiring([]session.Lease{{What: "token"}, {What: "certificate", End: end}})
	server := httptest.NewServer(o.Handler(true))
	defer server.Close()
	get := func(path string, kind string) string {
		t.Helper()
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if have := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || !strings.HasPrefix(have, kind) {
			t.Errorf("%s: %s, %s; want 200 and %s", path, answer.Status, have, kind)
		}
		if strings.Contains(string(text), o.Node.World.Sim.TokenSecret()) {
			t.Errorf("%s shows the token's secret", path)
		}
		return string(text)
	}

	if text := get("/healthz", "text/plain"); !regexp.MustCompile(`^ok: converged 13 of 13, next refresh at \d\d:\d\d\n$`).MatchString(text) {
		t.Errorf("/healthz: %q", text)
	}

	var have struct {
		Format  int
		Node    string
		Healthy bool
		Errors  []string
		Objects []httpstatus.ObjectState
		Running bool
		Now     []reconcile.HistoryEntry
		History []reconcile.HistoryEntry
		Backups map[string]reconcile.LastBackup
		Expiry  []string
		Host    httpstatus.Hardware
		Plan    *reconcile.Plan
	}
	status := []byte(get("/status", "application/json"))
	if err := json.Unmarshal(status, &have); err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(status, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("running now blocked holds backups errors fine of due objects history plan host") { // as the README says
		if keys[key] == nil {
			t.Errorf("/status has no %s", key)
		}
	}
	if have.Format != 1 || have.Node != "pve1" || !have.Healthy || have.Errors == nil || len(have.Errors) > 0 || !have.Running || have.Now == nil || len(have.Now) > 0 || have.Plan == nil {
		t.Errorf("/status: %+v", have)
	}
	if want := []string{"Token expires: never", "Certificate: until 20 Nov 2028"}; !slices.Equal(have.Expiry, want) {
		t.Errorf("/status: %q, want %q", have.Expiry, want)
	}
	if len(have.Objects) != 13 || len(have.History) == 0 || len(have.History) > httpstatus.ShownHistory {
		t.Errorf("/status has %d objects and %d acts", len(have.Objects), len(have.History))
	}
	for _, guest := range []string{"web", "postgres", "nextcloud", "jellyfin", "dns"} {
		if have.Backups[guest].Time.IsZero() {
			t.Errorf("/status knows no backup of %s: %v", guest, have.Backups)
		}
	}
	if len(have.Host.SMART) == 0 || len(have.Host.Disks) == 0 || len(have.Host.Sensors) == 0 || len(have.Host.Missing) > 0 {
		t.Errorf("/status shows of the host: %+v", have.Host)
	}

	metrics := get("/metrics", "text/plain")
	for _, line := range []string{
		`felhom_objects{state="declared"} 13`, `felhom_objects{state="blocked"} 0`, `felhom_passes_total{result="ok"} 1`, `felhom_passes_total{result="failed"} 0`,
		`felhom_desired_errors 0`, `felhom_tasks_running 0`, `felhom_actions_total{result="ok",verb="restore"} 4`, `felhom_task_seconds_count{result="ok",verb="restore"} 4`,
		`felhom_disk_healthy{device="/dev/sda",model="Simulated SSD"} 1`, fmt.Sprintf("felhom_certificate_expiry_timestamp_seconds %g", float64(end.Unix())),
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	for _, name := range []string{"felhom_last_refresh_requests", "felhom_refresh_requests_total", "felhom_last_converged_timestamp_seconds", `felhom_last_backup_timestamp_seconds{guest="web"}`,
		`felhom_disk_temperature_celsius{device="/dev/sda"`, "felhom_sensor_celsius{", "go_goroutines", "process_resident_memory_bytes"} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `[^\n]* [1-9]`).MatchString(metrics) {
			t.Errorf("/metrics has no value of %s", name)
		}
	}

	if promtool, err := exec.LookPath("promtool"); err == nil { // apt install prometheus
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(metrics)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	}
	if strings.Contains(metrics, "felhom_token_expiry") {
		t.Error("/metrics knows when a token expires that never does")
	}

	page := get("/", "text/html")
	for _, text := range []string{"restores/nextcloud", "Plan: nothing to do. Destroys nothing.", "Last verified backups", "Simulated SSD", "converged 13 of 13", "Certificate: until 20 Nov 2028."} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	if m := regexp.MustCompile(`(?i)(src|href|url\()=?["']?(https?:)?//[^"']*`).FindString(page); m != "" {
		t.Errorf("the page needs something from elsewhere: %s", m)
	}
}

// TestOnlyReaders: other methods, other hosts and other paths are refused, and the headers keep browsers from
// lending the page to others.
func TestOnlyReaders(t *testing.T) {
	t.Parallel()
	o := observed(t, "../../examples/desired/guests.yaml")
	for _, test := range []struct {
		method, host, path string
		check              bool
		code               int
	}{
		{"GET", "localhost:8765", "/healthz", true, 200},
		{"HEAD", "127.0.0.1:8765", "/", true, 200},
		{"GET", "127.8.8.8", "/status", true, 200},
		{"GET", "[::1]:1234", "/status", true, 200},
		{"GET", "LOCALHOST", "/metrics", true, 200},
		{"GET", "evil.example:8765", "/status", true, 421},
		{"GET", "127.0.0.1.evil.example", "/", true, 421},
		{"GET", "192.0.2.7:8765", "/", true, 421},
		{"GET", "", "/", true, 421},
		{"GET", "anything", "/status", false, 200},
		{"POST", "localhost", "/status", true, 405},
		{"DELETE", "localhost", "/", true, 405},
		{"PUT", "localhost", "/healthz", true, 405},
		{"OPTIONS", "localhost", "/", true, 405},
		{"GET", "localhost", "/nothing", true, 404},
		{"GET", "localhost", "/status/x", true, 404},
	} {
		answer := httptest.NewRecorder()
		request := httptest.NewRequest(test.method, "http://x"+test.path, nil)
		request.Host = test.host
		o.Handler(test.check).ServeHTTP(answer, request)
		if answer.Code != test.code {
			t.Errorf("%s %s of %q: %d, want %d", test.method, test.path, test.host, answer.Code, test.code)
		}
		for header, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"} {
			if have := answer.Header().Get(header); !strings.HasPrefix(have, want) {
				t.Errorf("%s %s: %s is %q", test.method, test.path, header, have)
			}
		}
	}
}

// TestPageEscapes: what comes from the node or the YAML is text, never markup.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	o := observed(t, "../../examples/desired/guests.yaml")
	const hostile = `<script>alert("x")</script>`
	ref := spec.Ref{Kind: spec.KindGuest, Name: "dns"}
	o.Plan.Blocked = append(o.Plan.Blocked, reconcile.Blocked{Object: ref, Reason: hostile, Fix: []string{hostile}})
	o.Failed, o.Trouble = hostile, hostile
	busy(t, o)(ref, hostile, hostile, time.Minute)
	answer := httptest.NewRecorder()
	o.Handler(false).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if text := answer.Body.String(); strings.Contains(text, `<script>alert`) || strings.Count(text, "&lt;script&gt;alert") < 5 {
		t.Errorf("the page lends itself to what it shows:\n%s", text)
	}
	answer = httptest.NewRecorder()
	o.Handler(false).ServeHTTP(answer, httptest.NewRequest("GET", "/healthz", nil))
	if answer.Code != 503 {
		t.Errorf("/healthz answers %d while the node cannot be looked at", answer.Code)
	}
}

// TestLineOfABrokenEdit: the one line of the service manager reads as one sentence.
func TestLineOfABrokenEdit(t *testing.T) {
	t.Parallel()
	o := observed(t, "../../examples/desired/guests.yaml")
	o.Src.Broken = "guests.yaml:13: guests.dns: is wrong. Correct it.\nguests.yaml:14: and so on"
	if have := o.Line(); !regexp.MustCompile(`^converged 1 of 1, an edit is not valid and was ignored: guests.yaml:13: guests.dns: is wrong. Correct it, next refresh at \d\d:\d\d$`).MatchString(have) {
		t.Error(have)
	}
}

func TestObjectStates(t *testing.T) {
	t.Parallel()
	ref := func(name string) spec.Ref { return spec.Ref{Kind: spec.KindRestore, Name: name} }
	plan := &reconcile.Plan{
		Objects: []spec.Ref{ref("a"), ref("b"), ref("c"), ref("d"), ref("e"), ref("f")},
		Actions: []reconcile.Action{
			{Object: ref("a"), Verb: "set", Fields: []reconcile.Field{{Name: "memory", Old: "512 MiB", New: "1024 MiB"}, {Name: "nameserver", New: "10.0.0.1"}}},
			{Object: ref("b"), Verb: "start", Text: "start"},
		},
		Deferred: []reconcile.Deferred{{Object: ref("c"), Verb: "create", Text: "create 201", Waits: "when the golden is published"}},
		Blocked: []reconcile.Blocked{
			{Object: ref("b"), Reason: "is locked", Fix: []string{"wait"}},
			{Object: ref("b"), Reason: "is held", Fix: []string{"release it"}},
		},
		Notes: []reconcile.Note{{Object: ref("d"), Text: "memory differs", Drift: true, By: "unknown"}, {Object: ref("e"), Text: "a bind"}, {Object: ref("a"), Text: "not shown"}},
	}
	want := []httpstatus.ObjectState{
		{Object: ref("a"), State: "changing", Reason: "memory 512 MiB -> 1024 MiB, nameserver (unset) -> 10.0.0.1", Fix: nil},
		{Object: ref("b"), State: "blocked", Reason: "is locked; is held", Fix: []string{"wait", "release it"}},
		{Object: ref("c"), State: "waits", Reason: "create 201, when the golden is published", Fix: nil},
		{Object: ref("d"), State: "drifted", Reason: "memory differs, by unknown", Fix: []string{"to heal it: felhom-agent --once --only restores/d"}},
		{Object: ref("e"), State: "declared", Reason: "a bind", Fix: nil},
		{Object: ref("f"), State: "declared", Reason: "", Fix: nil},
	}
	if diff := cmp.Diff(want, httpstatus.ObjectStates(plan)); diff != "" {
		t.Error(diff)
	}
}

// TestAged: a dear look is made at most once in its time, however many ask.
func TestAged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks, whole := 0, true
		a := httpstatus.Aged[int]{Good: time.Hour, Bad: time.Minute, Limit: time.Second, Read: func(context.Context) (int, bool) { looks++; return looks, whole }}
		for range 1000 {
			go a.Now(t.Context())
		}
		synctest.Wait()
		time.Sleep(59 * time.Minute)
		if have := a.Now(t.Context()); have != 1 {
			t.Errorf("look %d within the hour", have)
		}
		time.Sleep(time.Minute)
		whole = false
		if have := a.Now(t.Context()); have != 2 {
			t.Errorf("look %d after an hour", have)
		}
		time.Sleep(time.Minute)
		if have := a.Now(t.Context()); have != 3 {
			t.Errorf("look %d a minute after one that was not whole", have)
		}
	})
}

// TestAlive: the watchdog is fed while looks come when they are due, however long the interval is, and no
// longer.
func TestAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &httpstatus.Observer{Node: &session.Session{Config: &config.Config{Interval: 15 * time.Minute, Timeout: 10 * time.Minute}}, Src: &source.Source{}, Manager: &systemd.Supervisor{}, Running: map[string]reconcile.Event{}}
		o.Metrics()
		time.Sleep(24 * time.Hour)
		if !o.Alive() {
			t.Error("there was no valid YAML for a day, and it takes itself for dead")
		}
		o.Pass(nil, &reconcile.Plan{Header: reconcile.PlanHeader{Refreshed: time.Now()}}, 15*time.Minute, nil)
		for range 100 {
			time.Sleep(16 * time.Minute)
			if !o.Alive() {
				t.Fatal("it waits for its next look, and takes itself for dead")
			}
			o.Pass(nil, &reconcile.Plan{Header: reconcile.PlanHeader{Refreshed: time.Now()}}, 15*time.Minute, nil)
		}
		time.Sleep(35 * time.Minute)
		if o.Alive() {
			t.Error("no look came for 35 minutes, and it takes itself for alive")
		}
		if text, healthy := o.Health(); healthy || !strings.HasPrefix(text, "overdue: ") {
			t.Errorf("/healthz says %q", text)
		}
	})
}

// TestHealthWithoutFence: without the root helper the API tells of the health of disks, and what is missing is said.
// (Assumed: PVE's word for a failing disk begins with FAIL, as smartctl's.)
func TestHealthWithoutFence(t *testing.T) {
	t.Parallel()
	o := observed(t, "../../examples/desired")
	world, err := o.Node.World.Sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	const serial = "serial: SIMUSB0001\n"
	sim, err := pvesim.Load([]byte(strings.Replace(string(world), serial, serial+"        failing: true\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if o.Node.Client, err = proxmox.New(proxmox.Options{Token: o.Node.Config.Token, Transport: sim}); err != nil {
		t.Fatal(err)
	}
	o.Node.Runner, o.NoFence = nil, "runner: none"
	health := map[string]privileged.Health{}
	h := o.Report(t.Context()).Host
	for _, r := range h.SMART {
		health[r.Device] = r.Health
	}
	want := map[string]privileged.Health{"/dev/sda": privileged.HealthPassed, "/dev/sdb": privileged.HealthFailing, "/dev/sdc": privileged.HealthUnknown}
	if !maps.Equal(health, want) || len(h.Missing) != 1 || !strings.HasSuffix(h.Missing[0], "runner: none") || len(h.Sensors) > 0 {
		t.Errorf("it shows %+v", h)
	}
}
