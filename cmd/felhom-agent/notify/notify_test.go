package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/notify"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

func noticesOf(t *testing.T, n *notify.Notifier) []string {
	t.Helper()
	var all []string
	for _, got := range n.Take() {
		all = append(all, fmt.Sprintf("%s %s: %s", got.Event, got.Object, got.Text))
	}
	return all
}

func testNotifier(t *testing.T, dir string) *notify.Notifier {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(`{command: /bin/true, daily: "07:00"}`), &doc); err != nil {
		t.Fatal(err)
	}
	c, err := config.ParseNotify(doc.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	return notify.NewNotifier(&session.Session{Config: &config.Config{Notify: c}, State: dir, Log: zap.NewNop()})
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

func ref(s string) spec.Ref {
	r, err := spec.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return r
}

func planOf(at time.Time, objects []string, held ...reconcile.Blocked) *reconcile.Plan {
	plan := &reconcile.Plan{Blocked: held, Header: reconcile.PlanHeader{Node: "pve1", Refreshed: at}}
	for _, o := range objects {
		plan.Objects = append(plan.Objects, ref(o))
	}
	return plan
}

// The command hears of each turn exactly once: over many passes, over a retry, over a
// restart of the agent.
func TestNotifyOncePerTurn(t *testing.T) {
	dir := t.TempDir()
	n := testNotifier(t, dir)
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	objects := []string{"restores/web", "restores/mail", "backups/nightly"}
	fails := reconcile.Blocked{Object: ref("restores/web"), Kind: reconcile.BlockedFailed, Reason: "start failed: no such device", Fix: []string{"plug it in"}}
	foreign := reconcile.Blocked{Object: ref("restores/mail"), Reason: "107 is not ours"}
	frozen := reconcile.Blocked{Object: ref("backups/nightly"), Kind: reconcile.BlockedFrozen, Reason: "on hold by anna"}
	lock := reconcile.Blocked{Object: ref("backups/nightly"), Passing: true, Reason: "it is locked"}
	overdue := reconcile.Blocked{Object: ref("backups/nightly"), Kind: reconcile.BlockedOverdue, Reason: "no whole backup of web for 4 d"}
	retry := planOf(at, objects)
	retry.Actions = []reconcile.Action{{Object: ref("restores/web"), Verb: "start"}}
	expect := func(what string, plan *reconcile.Plan, want ...string) {
		t.Helper()
		n.Pass(plan, nil)
		if got := noticesOf(t, n); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	expect("all well", planOf(at, objects))
	expect("two go wrong", planOf(at, objects, fails, foreign, frozen, lock),
		"failed restores/web: start failed: no such device", "blocked restores/mail: 107 is not ours")
	expect("still", planOf(at, objects, fails, foreign, frozen))
	expect("it is tried again", retry, "recovered restores/mail: as declared again")
	expect("and fails again", planOf(at, objects, fails))
	n = testNotifier(t, dir)
	expect("after a restart", planOf(at, objects, fails))
	expect("overdue", planOf(at, objects, fails, foreign, overdue), "blocked restores/mail: 107 is not ours", "overdue backups/nightly: no whole backup of web for 4 d")
	expect("out of the YAML", planOf(at, objects[1:], foreign, overdue))
	expect("well again", planOf(at, objects), "recovered restores/mail: as declared again", "recovered backups/nightly: as declared again")
	expect("the hour comes", planOf(at.Add(61*time.Minute), objects, foreign), "blocked restores/mail: 107 is not ours",
		"daily : pve1: 2 of 3 as declared; blocked: restores/mail")
	expect("the same day", planOf(at.Add(10*time.Hour), objects, foreign))
	expect("the next day", planOf(at.Add(26*time.Hour), objects, foreign), "daily : pve1: 2 of 3 as declared; blocked: restores/mail")
}

// The command gets one JSON document, no shell, and nothing of our environment.
func TestNotifyCommand(t *testing.T) {
	t.Setenv("FELHOM_AGENT_TOKEN_SECRET", "not-for-you")
	dir := t.TempDir()
	script := filepath.Join(dir, "tell-me")
	write := func(text string) {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	heard := filepath.Join(dir, "heard")
	write("cat > " + heard + "; env >> " + heard + "; echo \"$1\" >> " + heard)
	hello := notify.Notice{Format: 1, Event: "failed", Node: "pve1", Object: "restores/web", Text: "start: $(touch /x) `no`", Do: []string{"plug it in"}}
	if err := notify.CallCommand(context.Background(), []string{script, "a b; c"}, hello, time.Minute); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(heard)
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	var got notify.Notice
	if err := json.Unmarshal(first, &got); err != nil || got.Text != hello.Text || got.Event != "failed" || got.Object != "restores/web" {
		t.Errorf("it read %s (%v)", first, err)
	}
	if strings.Contains(string(rest), "not-for-you") || !strings.HasSuffix(string(rest), "a b; c\n") {
		t.Errorf("its environment and arguments: %s", rest)
	}

	write("echo sorry; exit 3")
	if err := notify.CallCommand(context.Background(), []string{script}, hello, time.Minute); err == nil || !strings.Contains(err.Error(), `exit status 3; it said: "sorry"`) {
		t.Errorf("%v", err)
	}
	write("sleep 1000 & sleep 1000") // both hang
	if err := notify.CallCommand(context.Background(), []string{script}, hello, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("%v", err)
	}
	write("exec yes flood") // never ends, and prints as fast as it can
	err := notify.CallCommand(context.Background(), []string{script}, hello, 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "was killed") || len(err.Error()) > 2*notify.NotifyOutput {
		t.Errorf("%d bytes of error", len(fmt.Sprint(err)))
	}
	write("exec true") // does not read what it is told
	hello.Text = strings.Repeat("x", 1<<20)
	if err := notify.CallCommand(context.Background(), []string{script}, hello, time.Minute); err != nil {
		t.Errorf("a command that does not read: %v", err)
	}
	if err := notify.CallCommand(context.Background(), []string{filepath.Join(dir, "none")}, hello, time.Minute); err == nil {
		t.Error("a command that is not there")
	}
}

// A flood of turns is bounded, and never blocks a pass.
func TestNotifyFlood(t *testing.T) {
	n := testNotifier(t, "")
	var objects []string
	var held []reconcile.Blocked
	for i := range 2 * notify.NotifyWaiting {
		objects = append(objects, fmt.Sprintf("restores/ct%d", i))
		held = append(held, reconcile.Blocked{Object: ref(objects[i]), Reason: fmt.Sprintf("no %d", i)})
	}
	n.Pass(planOf(time.Unix(0, 0), objects, held...), nil)
	if got := noticesOf(t, n); len(got) != notify.NotifyWaiting {
		t.Errorf("%d notices wait", len(got))
	}
}

func TestNotifyConfig(t *testing.T) {
	for text, want := range map[string]string{
		`{command: /usr/local/bin/tell-me}`:                    "",
		`/usr/local/bin/tell-me`:                               "",
		`{command: [/bin/tell-me, "a b"], pass: on, daily: 7}`: "",
		`{pve: on}`:                            "",
		`{command: tell-me}`:                   "command: expected the absolute path of a program; no shell is used",
		`{command: /bin/tell-me --loud}`:       `command: "/bin/tell-me --loud": no shell is used. Arguments are a list: [/usr/local/bin/tell-me, --loud]`,
		`{comand: /bin/tell-me}`:               "comand: unknown key: did you mean command?",
		`{command: /bin/tell-me, daily: noon}`: `daily: invalid time of day "noon": expected for example "07:00"`,
		`{command: /bin/tell-me, pass: maybe}`: `pass: "maybe" is neither on nor off`,
		`{daily: "07:00"}`:                     "the command is missing: command: /usr/local/bin/tell-me",
		`[/bin/tell-me]`:                       "expected a map, for example {command: /usr/local/bin/tell-me}",
		`{command: /bin/a, command: /bin/b}`:   "command stands there twice",
	} {
		var doc yaml.Node
		if err := yaml.NewDecoder(bufio.NewReader(strings.NewReader(text))).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		_, err := config.ParseNotify(doc.Content[0])
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// A node that does not answer is told of once, when that lasts, and once when it answers again; a short outage is
// nobody's business. The daily line does not repeat what was true before.
func TestNotifyUnreachableNode(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := testNotifier(t, dir)
		fine := func() *reconcile.Plan { return planOf(time.Now().UTC(), []string{"restores/web"}) }
		down := errors.New("pve1 does not answer:\n  connection refused")
		fails := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
				n.Pass(nil, down)
			}
		}
		expect := func(what string, want ...string) {
			t.Helper()
			if got := noticesOf(t, n); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: told %q, want %q", what, got, want)
			}
		}
		n.Pass(fine(), nil)
		fails(4 * time.Minute)
		n.Pass(fine(), nil)
		fails(4 * time.Minute)
		expect("two short outages")
		n.Pass(fine(), nil)
		fails(time.Hour)
		expect("a long one", "failed node: pve1 does not answer: connection refused")
		n = testNotifier(t, dir)
		fails(time.Hour)
		expect("over a restart")
		n.Pass(fine(), nil)
		expect("the end", "recovered node: it can be refreshed again")

		time.Sleep(24*time.Hour - time.Duration(time.Now().UTC().Hour())*time.Hour) // past midnight
		n.Pass(fine(), nil)
		noticesOf(t, n)
		fails(8 * time.Hour) // over the hour of the daily line
		got := noticesOf(t, n)
		if len(got) != 2 || !strings.HasPrefix(got[1], "daily : pve1 could not be refreshed for ") || !strings.HasSuffix(got[1], "m0s: pve1 does not answer: connection refused") {
			t.Errorf("over a day told %q", got)
		}
	})
}

// One cause is one notice: what a disk blocks, also by way of another object, is told with the disk and not of again
// when it goes on; a cause of its own is told.
func TestNotifyOneCause(t *testing.T) {
	n := testNotifier(t, t.TempDir())
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	objects := []string{"mounts/backup", "restores/web", "restores/mail", "snapshots/hourly", "backups/nightly"}
	disk := reconcile.Blocked{Object: ref("mounts/backup"), Reason: "blue is not connected", Fix: []string{"connect it"}}
	as := func(object, reason, fix string) reconcile.Blocked {
		return reconcile.Blocked{Object: ref(object), Reason: reason, Fix: []string{fix}}
	}
	held := []reconcile.Blocked{disk, as("restores/web", "usb is not mounted", "as mounts/backup"), as("restores/mail", "usb is not mounted", "as mounts/backup"),
		as("snapshots/hourly", "restores/web: it is not here", "see restores/web"), as("backups/nightly", "usb is not mounted", "as mounts/backup")}
	expect := func(what string, plan *reconcile.Plan, want ...string) {
		t.Helper()
		n.Pass(plan, nil)
		if got := noticesOf(t, n); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	expect("the disk is away", planOf(at, objects, held...), "blocked mounts/backup: blue is not connected; it blocks too: backups/nightly, restores/mail, restores/web, snapshots/hourly")
	expect("still", planOf(at, objects, held...))
	other := as("restores/mail", "107 is not managed", "choose another vmid")
	expect("it is back, and mail has a cause of its own", planOf(at, objects, other), "blocked restores/mail: 107 is not managed", "recovered mounts/backup: as declared again")
	expect("all is well", planOf(at, objects), "recovered restores/mail: as declared again")
	alike := []reconcile.Blocked{as("restores/web", "no bridge vmbr7", "make it"), as("restores/mail", "no bridge vmbr7", "make it")}
	expect("one line twice", planOf(at, objects, alike...), "blocked restores/web: no bridge vmbr7; it blocks too: restores/mail")
	circle := []reconcile.Blocked{as("restores/web", "a", "see restores/mail"), as("restores/mail", "b", "see restores/web")}
	m := testNotifier(t, t.TempDir())
	m.Pass(planOf(at, objects, circle...), nil)
	if got := noticesOf(t, m); len(got) == 0 {
		t.Error("of two that name each other nothing is told")
	}
}
