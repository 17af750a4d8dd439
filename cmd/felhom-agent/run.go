package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runPlan prints what would change. Neither it nor what it hands on can write.
func runPlan(ctx context.Context, cmd *command, con *console) (int, error) {
	want, only, err := desired(cmd)
	if err != nil {
		return 0, err
	}
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	n.sight.Only = only
	plan, err := reconcile.Preview(ctx, n.sight, want, n.journal)
	if err != nil {
		return 0, n.explain(err)
	}
	plan.Header.Desired = cmd.path
	if cmd.json {
		n.warnOfLeases(ctx, cmd, con)
		return plan.ExitCode(), writeJSON(con.stdout, plan)
	}
	err = reconcile.WritePlan(con.stdout, plan, con.text(cmd, only))
	n.warnOfLeases(ctx, cmd, con)
	return plan.ExitCode(), err
}

// runOnce converges and ends.
func runOnce(ctx context.Context, cmd *command, con *console) (code int, err error) {
	want, only, err := desired(cmd)
	if err != nil {
		return 0, err
	}
	n, err := connect(ctx, cmd, con, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.find(ctx); err != nil {
		return 0, n.explain(err)
	}
	n.sight.Only = only
	told := con.teller(cmd, only)
	options := n.options("--once", told.event)
	if !cmd.json { // the run's first line stands above what it does
		options.Planned = func(plan *reconcile.Plan) { reconcile.WriteRunHeader(con.stdout, plan, told.text) }
	}
	report, err := reconcile.New(options).Once(ctx, want)
	if err != nil {
		return 0, n.explain(err)
	}
	report.Plan.Header.Desired = cmd.path
	err = told.end(report)
	n.warnOfLeases(ctx, cmd, con)
	return report.ExitCode(), err
}

// fenceRoots are the fence's roots of this machine; a variable for the tests.
var fenceRoots = privileged.LocalRoots

// load reads the desired state with what is known of the host: host paths that the fence would refuse are
// mistakes. Where root keeps to itself which those are, the fence says it later; a simulated node has a fence of
// its own.
func (cmd *command) load() (*spec.Desired, error) {
	var l spec.Loader
	if !cmd.simulate {
		roots, err := fenceRoots()
		if err != nil {
			roots = []string{"/"}
		}
		l.Roots = roots
	}
	return l.Load(cmd.path)
}

// desired loads what is wanted, and finds what --only names in it.
func desired(cmd *command) (*spec.Desired, []spec.Ref, error) {
	want, err := cmd.load()
	if err != nil {
		return nil, nil, err
	}
	only, err := named(want, "--only", cmd.only)
	return want, only, err
}

// named finds the objects that a flag names: restores/web, or web where that fits exactly one.
func named(want *spec.Desired, flag string, names []string) ([]spec.Ref, error) {
	var only []spec.Ref
	for _, name := range names {
		var fits []spec.Ref
		for _, ref := range want.Refs() {
			if ref.String() == name || ref.Name == name {
				fits = append(fits, ref)
			}
		}
		switch len(fits) {
		case 1:
			only = append(only, fits[0])
		case 0:
			return nil, usagef("%s %s: nothing of that name is declared%s", flag, name, nearest(name, slices.Values(likely(want.Refs(), name))))
		default:
			return nil, usagef("%s %s fits %s: say which", flag, name, strings.Join(labels(fits), ", "))
		}
	}
	return only, nil
}

// likely are the names among which a mistyped one is sought: short ones for a short one.
func likely(refs []spec.Ref, name string) []string {
	all := labels(refs)
	if strings.Contains(name, "/") {
		return all
	}
	var short []string
	for _, ref := range refs {
		short = append(short, ref.Name)
	}
	if spec.Nearest(name, short) == "" {
		return all
	}
	return short
}

func labels(refs []spec.Ref) []string {
	var all []string
	for _, ref := range refs {
		all = append(all, ref.String())
	}
	return all
}

// options are what an agent of this node works with.
func (n *node) options(who string, event func(reconcile.Event)) reconcile.Options {
	o := reconcile.Options{
		Sight: n.sight, Client: n.client, Runner: n.runner, Journal: n.journal, Store: n.store, Log: n.log,
		Events: event, Wait: n.wait, Patience: n.config.timeout, Settle: n.config.settle, Go: spawn,
	}
	if n.state != "" {
		o.Lock = reconcile.NewWriteLock(n.state, "felhom-agent "+who, n.config.timeout)
	}
	return o
}

// text is how things are printed here.
func (con *console) text(cmd *command, only []spec.Ref) reconcile.TextOptions {
	return reconcile.TextOptions{Verbose: cmd.verbose, Colour: con.colour, Live: con.terminal, Width: con.width, Desired: cmd.path, Args: cmd.again(), Only: only}
}

// again is what another call needs to mean the same node and the same files.
func (cmd *command) again() string {
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

// writeJSON prints a document. A marker and an arrow (<!--, ->) stay readable.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
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
	Exit   *int              `json:"exit,omitempty"`
}

func (con *console) teller(cmd *command, only []spec.Ref) *teller {
	t := &teller{w: con.stdout, text: con.text(cmd, only)}
	if cmd.json {
		t.json = json.NewEncoder(con.stdout)
		t.json.SetEscapeHTML(false)
	}
	t.progress = reconcile.NewProgress(con.stdout, t.text)
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
func runCheck(_ context.Context, cmd *command, con *console) (int, error) {
	want, err := cmd.load()
	wrong := checkConfig(cmd.config)
	for _, err := range []error{err, wrong} {
		if err != nil {
			writeErrors(con.stdout, err) // for this mode the mistakes are the result
		}
	}
	if err != nil || wrong != nil {
		return exitInvalid, nil
	}
	verb := "are"
	if want.Len() == 1 {
		verb = "is"
	}
	fmt.Fprintf(con.stdout, "%s in %s %s valid.\n", plural(want.Len(), "object", "objects"), plural(len(want.Files), "file", "files"), verb)
	return exitOK, nil
}

// checkConfig reads agent.yaml but for the connection, of which --selftest says more. One that nobody named may be
// missing, or not be ours to read.
func checkConfig(file string) error {
	if file == "" {
		if _, err := os.ReadFile(defaultConfig); err != nil {
			return nil
		}
		file = defaultConfig
	}
	c, err := readConfig(file, nil, true)
	if err != nil {
		return err
	}
	if err := c.notify.look(); err != nil {
		return &configError{c.places["notify"], "notify", err.Error()}
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
