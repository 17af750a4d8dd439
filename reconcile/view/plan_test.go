package view

import (
	"fmt"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// The last lines of a run say in what state a failure has left a guest, in the words of the failure itself.
func TestClosingSaysTheState(t *testing.T) {
	web := spec.Ref{Kind: spec.KindRestore, Name: "web"}
	for state, want := range map[string]string{
		"RUNNING":                         "  FAILED   restores/web      start: it broke\n",
		"STOPPED":                         "start: it broke       (is STOPPED)\n",
		"STOPPED (it was running before)": "start: it broke       (is STOPPED)\n",
		"STOPPED, locked (backup)":        "start: it broke       (is STOPPED, locked (backup))\n",
		"NOT THERE":                       "start: it broke       (is NOT THERE)\n",
	} {
		event := applying.Event{Object: web, Verb: "start", State: "FAILED", Text: "it broke", Lines: []applying.EventLine{{Label: "PVE said", Text: "it broke"}, {Label: "web is now", Text: state}}}
		r := &applying.Report{Plan: &plan.Plan{Objects: []spec.Ref{web}, Blocked: []plan.Blocked{{Object: web, Kind: plan.BlockedFailed}}}, Failed: []applying.Event{event}, Sent: 1}
		var text strings.Builder
		if err := WriteReport(&text, r, TextOptions{}); err != nil || !strings.HasSuffix(text.String(), want) {
			t.Errorf("%s: %v\n%s", state, err, &text)
		}
	}
}

// On a terminal that is too narrow for text and time, the time of a change stands below it, whole.
func TestNarrowTerminal(t *testing.T) {
	web := spec.Ref{Kind: spec.KindRestore, Name: "web"}
	p := &plan.Plan{Objects: []spec.Ref{web}, Deferred: []plan.Deferred{{Object: web, Verb: "restore", Symbol: plan.Create,
		Text: "create 112 from its newest backup, else golden/alpine", Waits: "when mounts/backup is mounted"}}}
	for width, want := range map[int]string{
		0: `  + restores/web          create 112 from its newest backup, else golden/alpine  when mounts/backup is mounted
`,
		90: `  + restores/web          create 112 from its newest backup, else golden/alpine
                          when mounts/backup is mounted
`,
		70: `  + restores/web          create 112 from its newest backup, else
                          golden/alpine
                          when mounts/backup is mounted
`,
	} {
		var text strings.Builder
		if err := WritePlan(&text, p, TextOptions{Width: width}); err != nil || !strings.Contains(text.String(), want) {
			t.Errorf("%d columns: %v\n%s", width, err, &text)
		}
	}
}

// A terminal shows what an operation that runs does, until its log tells more; a line is cut between letters.
func TestLiveLines(t *testing.T) {
	e := applying.Event{Object: spec.Ref{Kind: spec.KindBackup, Name: "daily"}, Verb: "back up", State: "running", What: "back up dns to usb-backup", UPID: "a"}
	var text strings.Builder
	p := NewProgress(&text, TextOptions{Live: true, Width: 56})
	p.Event(e)
	e.Text = "\u00e4\u00e4\u00e4\u00e4"
	p.Event(e)
	want := "      |   backups/daily        back up      0 s      ba\n\x1b[1A\x1b[J      |   backups/daily        back up      0 s      \u00e4\u00e4\n"
	if text.String() != want {
		t.Errorf("it draws\n%q\nwant\n%q", text.String(), want)
	}
}

func TestALongFirstLineIsCutBetweenLetters(t *testing.T) {
	if got, want := questions.FirstLine("Ez a konténer a család fényképeit és videóit őrzi"), `"Ez a konténer a család fényképeit és ..."`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// While own work is in flight a report blocks nothing and advises nothing: what is in the way may
// be that work. The report after it has both.
func TestAReportInTheMiddleBlocksNothing(t *testing.T) {
	web, mail := spec.Ref{Kind: spec.KindRestore, Name: "web"}, spec.Ref{Kind: spec.KindRestore, Name: "mail"}
	dns := spec.Ref{Kind: spec.KindGuest, Name: "dns"}
	p := &plan.Plan{Objects: []spec.Ref{web, mail, dns}, Blocked: []plan.Blocked{{Object: web, Reason: "volumes of 201 exist", Fix: []string{"really start empty: despite: TIME"}}},
		Running: []plan.Running{{Object: mail, Verb: "restore", Text: "create 202"}}}
	for _, c := range []struct {
		running []plan.Running
		want    string
	}{
		{p.Running, "\n1 of 3 so far, 1 running.\n  running  restores/mail     create 202, since 00:00:00\n  waits    restores/web      volumes of 201 exist\n"},
		{nil, "\nConverged 2 of 3 objects.\n  blocked  restores/web      volumes of 201 exist: really start empty: despite: TIME\n"},
	} {
		p.Running = c.running
		var text strings.Builder
		if err := WriteReport(&text, &applying.Report{Plan: p, Sent: 1}, TextOptions{}); err != nil || text.String() != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, &text, c.want)
		}
	}
}

// The same change of many guests is one line, which says how many and which; -v lists them. What is blocked, and another
// change, keep their own lines.
func TestEqualChangesAreOneLine(t *testing.T) {
	p := &plan.Plan{}
	for i := range 40 {
		ref := spec.Ref{Kind: spec.KindRestore, Name: fmt.Sprintf("svc-%03d", i)}
		p.Objects = append(p.Objects, ref)
		change := "2"
		if i == 7 {
			change = "3"
		}
		p.Actions = append(p.Actions, plan.Action{Object: ref, Verb: "set", Symbol: plan.Change, Call: &proxmox.Call{Method: "PUT", Path: "/nodes/pve1/lxc/201/config"}, Fields: []plan.Field{{Name: "cores", Old: "1", New: change, When: "now"}}})
		if i == 8 {
			p.Blocked = append(p.Blocked, plan.Blocked{Object: ref, Reason: "it is locked"})
		}
	}
	var text strings.Builder
	if err := WritePlan(&text, p, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	want := `  ~ 38 restores           cores       1 -> 2 (svc-000 ... svc-039)            now
  ~ restores/svc-007      cores       1 -> 3                                  now
  ~ restores/svc-008      cores       1 -> 2                                  now
  ! restores/svc-008      it is locked.

`
	if !strings.Contains(text.String(), want) {
		t.Errorf("it prints\n%s\nwant\n%s", text.String(), want)
	}
	text.Reset()
	if err := WritePlan(&text, p, TextOptions{Verbose: true}); err != nil || strings.Count(text.String(), "~ restores/svc-") != 40 {
		t.Errorf("with -v %v\n%s", err, text.String())
	}
}
