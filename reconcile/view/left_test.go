package view

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// How far an operation is comes from its log, else from what it usually takes, else from nowhere: no number is made up.
func TestDoing(t *testing.T) {
	const log = " 61% (122.0 GiB of 200.0 GiB) in 31m 4s, read: 65.5 MiB/s"
	for _, c := range []struct {
		elapsed, usual time.Duration
		line, want     string
	}{
		{31 * time.Minute, 0, log, "61%, about 20 min left"},
		{31 * time.Minute, 3 * time.Hour, log, "61%, about 20 min left"},
		{31 * time.Minute, 40 * time.Minute, "creating vzdump archive", "about 9 min left"},
		{31 * time.Minute, 8 * time.Hour, "", "about 7 h left"},
		{31 * time.Minute, 31*time.Minute + 20*time.Second, "", "about 1 min left"},
		{31 * time.Minute, 20 * time.Minute, "", ""}, // longer than usual
		{31 * time.Minute, 0, "", ""},
		{time.Minute, 0, " 1% (2.0 GiB of 200.0 GiB) in 1m", "1%"}, // too little to go by
		{0, 0, log, "61%"},
	} {
		if got := Doing(c.elapsed, c.line, c.usual); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Backups are made one after the other, other objects at the same time; where of something nothing is known, it is more.
func TestTally(t *testing.T) {
	for want, c := range map[string]struct {
		running []string // object verb usual
		ahead   Ahead
	}{
		"18 of 44 objects": {},
		"18 of 44 objects, 2 running, about 9 min left":     {running: []string{"restores/web restore 10m", "restores/pg restore 4m"}},
		"18 of 44 objects, 1 running, about 29 min left":    {running: []string{"backups/a back_up 10m"}, ahead: Ahead{Steps: 2, Seconds: map[string]int64{"back up": 20 * 60}}},
		"18 of 44 objects, 1 running, about 20 min left":    {running: []string{"restores/web restore 10m"}, ahead: Ahead{Steps: 2, Seconds: map[string]int64{"back up": 20 * 60}}},
		"18 of 44 objects, 2 running, more than 9 min left": {running: []string{"restores/web restore 10m", "restores/pg restore 0s"}},
		"18 of 44 objects, 1 running, more than 8 min left": {running: []string{"restores/web restore 9m"}, ahead: Ahead{Steps: 1, Unknown: 1}},
		"18 of 44 objects, 1 running":                       {running: []string{"restores/web restore 0s"}},
	} {
		tally := &Tally{Fine: 18, Of: 44, Ahead: c.ahead}
		for _, line := range c.running {
			words := strings.Fields(line)
			usual, err := time.ParseDuration(words[2])
			if err != nil {
				t.Fatal(err)
			}
			tally.Run(words[0], strings.ReplaceAll(words[1], "_", " "), time.Minute, "", usual)
		}
		if got := tally.String(); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
}

// What a plan has not sent yet is ahead; what runs is not counted a second time.
func TestAheadOf(t *testing.T) {
	nightly, web := spec.Ref{Kind: spec.KindBackup, Name: "nightly"}, spec.Ref{Kind: spec.KindRestore, Name: "web"}
	p := &plan.Plan{
		Actions:  []plan.Action{{Object: nightly, Verb: "back up", Text: "dns"}, {Object: nightly, Verb: "back up", Text: "mail"}},
		Deferred: []plan.Deferred{{Object: nightly, Verb: "back up", Text: "pg"}, {Object: web, Verb: "start"}},
	}
	usual := func(_, verb, _ string) time.Duration {
		return map[string]time.Duration{"back up": 5 * time.Minute}[verb]
	}
	got := AheadOf(p, usual, func(_, _, text string) bool { return text == "dns" })
	if got.Steps != 3 || got.Unknown != 1 || got.Seconds["back up"] != 600 {
		t.Errorf("%+v", got)
	}
}

// A terminal shows below what runs how far all is; a pipe shows no live line. Bad news is red where there are colours, and UPIDs
// are for -v.
func TestLiveTally(t *testing.T) {
	nightly := spec.Ref{Kind: spec.KindBackup, Name: "nightly"}
	e := applying.Event{Object: nightly, Verb: "back up", State: "running", What: "back up dns", UPID: "UPID:pve1:1", Elapsed: time.Minute}
	p := &plan.Plan{Objects: []spec.Ref{nightly, {Kind: spec.KindGuest, Name: "dns"}}, Actions: []plan.Action{{Object: nightly, Verb: "back up", Text: "back up dns"}}}
	usual := func(string, string, string) time.Duration { return 10 * time.Minute }
	for _, live := range []bool{true, false} {
		var text strings.Builder
		progress := NewProgress(&text, TextOptions{Live: live, Width: 100})
		progress.Passed(p, usual)
		progress.Event(e)
		want := "      |   backups/nightly      back up      60 s     about 9 min left   back up dns\n      1 of 2 objects, 1 running, about 9 min left\n"
		if !live {
			want = ""
		}
		if text.String() != want {
			t.Errorf("live %t: it draws\n%q\nwant\n%q", live, text.String(), want)
		}
	}
	for _, c := range []struct {
		o     TextOptions
		state string
		want  string
	}{
		{TextOptions{}, "started", "00:00:00  backups/nightly      back up      started  back up dns\n"},
		{TextOptions{Verbose: true}, "started", "00:00:00  backups/nightly      back up      started  UPID:pve1:1\n"},
		{TextOptions{}, "FAILED", "00:00:00  backups/nightly      back up      FAILED   after 60 s:\n"},
		{TextOptions{Colour: true}, "FAILED", "00:00:00  backups/nightly      back up      \x1b[31mFAILED  \x1b[0m after 60 s:\n"},
	} {
		var text strings.Builder
		e.State = c.state
		NewProgress(&text, c.o).Event(e)
		if text.String() != c.want {
			t.Errorf("%+v: it prints\n%q\nwant\n%q", c, text.String(), c.want)
		}
	}
}
