package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runPlan prints what would change. Neither it nor what it hands on can write.
func runPlan(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	want, only, err := desired(cmd, con)
	if err != nil {
		return 0, err
	}
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	n.Source.Only, n.Source.Fitting = only.refs, only.fitting
	plan, err := reconcile.Preview(ctx, n.Source, want, n.Journal)
	if err != nil {
		return 0, n.Explain(err)
	}
	plan.Header.Desired = cmd.path
	if err := savePlan(cmd.out, reconcile.SavePlan(plan, savedAbout(n))); err != nil {
		return 0, err
	}
	if cmd.json {
		warnOfLeases(ctx, n, cmd, con)
		return plan.ExitCode(), httpstatus.WriteJSON(con.Stdout, plan)
	}
	err = reconcile.WritePlan(con.Stdout, plan, textOptions(con, cmd, only.refs))
	warnOfLeases(ctx, n, cmd, con)
	return plan.ExitCode(), err
}

// runOnce converges and ends.
func runOnce(ctx context.Context, cmd *command, con *console.Console) (code int, err error) {
	want, only, err := desired(cmd, con)
	if err != nil {
		return 0, err
	}
	atOnce, err := madeNow(want, cmd.now)
	if err != nil {
		return 0, err
	}
	for name := range atOnce {
		only.refs = append(only.refs, madeIn(want, name))
	}
	reviewed, err := cmd.reviewed()
	if err != nil {
		return 0, err
	}
	if reviewed != nil {
		only = selection{refs: reviewed.Only, fitting: reviewed.Fitting}
	}
	n, err := connect(ctx, cmd, con, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.FindPatiently(ctx); err != nil {
		return 0, n.Explain(err)
	}
	n.Source.Only, n.Source.Fitting, n.Source.AtOnce.Names = only.refs, only.fitting, atOnce
	told := newTeller(con, cmd, only.refs)
	if cmd.ask {
		if reviewed, err = askFirst(ctx, n, want, con, told.text); err != nil {
			return 0, n.Explain(err)
		}
		if reviewed == nil {
			return exit.Blocked, nil
		}
	}
	options := optionsOf(n, "--once", told.event)
	options.Saved, options.Version = reviewed, version.Version
	if !cmd.json { // the run's first line stands above what it does
		options.Planned = func(plan *reconcile.Plan) { reconcile.WriteRunHeader(con.Stdout, plan, told.text) }
	}
	options.Passed = func(plan *reconcile.Plan) { passedOn(told.progress, n, plan, told.text) }
	agent := reconcile.New(options)
	report, err := agent.Once(ctx, want)
	var different *reconcile.DifferentError
	switch {
	case errors.As(err, &different):
		return exit.Blocked, told.refuse(different)
	case err != nil:
		return 0, n.Explain(err)
	}
	recovery.NewKeeper(n).Keep(ctx, recovery.See(agent, report.Plan, cmd.path, want))
	report.Plan.Header.Desired = cmd.path
	err = told.end(report)
	warnOfLeases(ctx, n, cmd, con)
	return report.ExitCode(), err
}

// desired loads what is wanted, and finds what --only names in it.
func desired(cmd *command, con *console.Console) (*spec.Desired, selection, error) {
	want, err := cmd.load()
	if err != nil {
		return nil, selection{}, err
	}
	if text := source.PassedOver(want); text != "" {
		con.Say("%s", text)
	}
	only, err := selected(want, cmd.only)
	return want, only, err
}

// optionsOf are what an agent of this node works with.
func optionsOf(n *session.Session, who string, event func(reconcile.Event)) reconcile.Options {
	o := reconcile.Options{
		Source: n.Source, Client: n.Client, TestGuests: n.TestGuests, Runner: n.Runner, Journal: n.Journal, Store: n.Store, Log: n.Log,
		Events: event, Wait: n.Wait, Patience: n.Config.Timeout, Settle: n.Config.Settle, Go: exit.Go,
	}
	if n.World == nil { // on a simulated node there is no other agent
		o.Stagger = 5 * time.Second
	}
	if n.State != "" {
		o.Lock = reconcile.NewWriteLock(n.State, "felhom-agent "+who, n.Config.Timeout)
	}
	return o
}

// textOptions is how things are printed here.
func textOptions(con *console.Console, cmd *command, only []spec.Ref) reconcile.TextOptions {
	return reconcile.TextOptions{Verbose: cmd.verbose, Colour: con.Colour, Live: con.Terminal, Width: con.Width, Desired: cmd.path, Args: cmd.again(), Only: only, OnlyTyped: cmd.only, Simulated: cmd.simulate || cmd.world != ""}
}

// again is what another call needs to mean the same node and the same files.
func (cmd *command) again() string {
	if cmd.rehearsed != nil { // the copy is gone by then
		return cmd.rehearsed.again()
	}
	var args []string
	switch {
	case cmd.world != "":
		args = append(args, "--simulate="+cmd.world)
	case cmd.simulate:
		args = append(args, "--simulate")
	}
	if cmd.config != "" {
		args = append(args, "--config", cmd.config)
	}
	if cmd.state != "" {
		args = append(args, "--state", cmd.state)
	}
	if cmd.json {
		args = append(args, "-o", "json")
	}
	if cmd.path != defaultPath {
		args = append(args, cmd.path)
	}
	for i, arg := range args {
		if strings.ContainsAny(arg, " \t'\"$`\\*?&|;<>()") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		args[i] = " " + arg
	}
	return strings.Join(args, "")
}

// A teller tells of a run as it goes on: lines for people, or one JSON document a line.
type teller struct {
	mu       sync.Mutex
	w        io.Writer
	json     *json.Encoder // nil: text
	text     reconcile.TextOptions
	progress *reconcile.Progress
}

// jsonLine is one line of a run in JSON: an event, or at the end the report.
type jsonLine struct {
	Format int               `json:"format"` // of this document: 1
	Event  *reconcile.Event  `json:"event,omitempty"`
	Report *reconcile.Report `json:"report,omitempty"`
	// Differences are those of the saved plan and the one of this moment: nothing was sent.
	Differences []string `json:"differences,omitempty"`
	Exit        *int     `json:"exit,omitempty"`
}

func newTeller(con *console.Console, cmd *command, only []spec.Ref) *teller {
	t := &teller{w: con.Stdout, text: textOptions(con, cmd, only)}
	if cmd.json {
		t.json = json.NewEncoder(con.Stdout)
		t.json.SetEscapeHTML(false)
	}
	t.progress = reconcile.NewProgress(con.Stdout, t.text)
	return t
}

func (t *teller) event(e reconcile.Event) {
	if t.json == nil {
		t.progress.Event(e)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.json.Encode(jsonLine{Format: 1, Event: &e})
}

func (t *teller) end(report *reconcile.Report) error {
	if t.json == nil {
		return reconcile.WriteReport(t.w, report, t.text)
	}
	code := report.ExitCode()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.json.Encode(jsonLine{Format: 1, Report: report, Exit: &code})
}

// runCheck reads the YAML alone: the desired state, and agent.yaml where there is one.
func runCheck(_ context.Context, cmd *command, con *console.Console) (int, error) {
	want, err := cmd.load()
	wrong := checkConfig(cmd.config)
	for _, err := range []error{err, wrong} {
		if err != nil {
			source.WriteErrors(con.Stdout, err) // for this mode the mistakes are the result
		}
	}
	if err != nil || wrong != nil {
		return exit.Invalid, nil
	}
	if cmd.resolved {
		text, err := cmd.loader().Resolved(cmd.path)
		if err != nil {
			return 0, err
		}
		_, err = con.Stdout.Write(text)
		return exit.OK, err
	}
	verb := "are"
	if want.Len() == 1 {
		verb = "is"
	}
	fmt.Fprintf(con.Stdout, "%s in %s %s valid.\n", session.Plural(want.Len(), "object", "objects"), session.Plural(len(want.Files), "file", "files"), verb)
	if text := source.PassedOver(want); text != "" {
		fmt.Fprintln(con.Stdout, text)
	}
	return exit.OK, nil
}

// checkConfig reads agent.yaml but for the connection, of which --selftest says more. One that nobody named may be
// missing, or not be ours to read.
func checkConfig(file string) error {
	if file == "" {
		if _, err := os.ReadFile(config.DefaultConfig); err != nil {
			return nil
		}
		file = config.DefaultConfig
	}
	c, err := config.Read(file, nil, true)
	if err != nil {
		return err
	}
	for _, err := range c.Notify.Unusable() {
		if !errors.Is(err, fs.ErrPermission) { // whoever checks need not be the one who reads the secrets
			return &config.Error{Place: c.Places["notify"], Key: "notify", Text: err.Error()}
		}
	}
	return nil
}
