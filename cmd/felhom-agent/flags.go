package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// defaultPath is the desired state that is meant where none is named.
const defaultPath = "/etc/felhom-agent/desired"

// A mode is what the program is asked to do.
type mode struct {
	name    string
	value   bool     // it takes the name of what it is about
	path    bool     // it takes a PATH
	options []string // those that make sense with it
	run     func(ctx context.Context, cmd *command, con *console.Console) (exit int, err error)
}

// modes are all modes. The first is the bare command.
var modes = []mode{
	{name: "", run: runBare},
	{name: "plan", path: true, run: runPlan, options: []string{"simulate", "config", "o", "v", "only", "state", "log-level", "log-format"}},
	{name: "once", path: true, run: runOnce, options: []string{"simulate", "config", "o", "v", "only", "state", "timeout", "log-level", "log-format"}},
	{name: "watch", path: true, run: runWatch, options: []string{"simulate", "config", "v", "only", "state", "interval", "timeout", "log-level", "log-format"}},
	{name: "check", path: true, run: runCheck, options: []string{"config"}},
	{name: "history", run: runHistory, options: []string{"simulate", "config", "o", "v", "only", "state"}},
	{name: "status", run: runStatus, options: []string{"simulate", "config", "o", "state"}},
	{name: "export", run: runExport, options: []string{"simulate", "config", "state", "log-level", "log-format"}},
	{name: "hold", value: true, path: true, run: runHold, options: []string{"simulate", "config", "state", "for", "m"}},
	{name: "release", value: true, path: true, run: runRelease, options: []string{"simulate", "config", "state"}},
	{name: "eject", value: true, path: true, run: runEject, options: []string{"simulate", "config", "state", "timeout", "log-level", "log-format"}},
	{name: "print-rollback", value: true, path: true, run: runPrintRollback, options: []string{"simulate", "config", "state", "log-level", "log-format"}},
	{name: "completion", value: true, run: runCompletion},
	{name: "selftest", run: runSelftest, options: []string{"simulate", "config", "vmid", "log-level", "log-format"}},
	{name: "schema", run: runSchema},
	{name: "routes", run: runRoutes},
	{name: "print-sudoers", run: runSudoers},
	{name: "print-setup", run: runSetup, options: []string{"config"}},
	{name: "version", run: runVersion},
}

// command is a checked command line.
type command struct {
	mode *mode
	name string // what the mode is about, where it takes a name
	path string // of the desired state

	simulate      bool
	world         string // the file of the simulated node; "" is in memory
	config        string // "" is the default file
	json, verbose bool
	only          []string
	state         string
	interval      time.Duration // 0: as configured
	timeout       time.Duration // 0: as configured
	logLevel      *zapcore.Level
	logFormat     string        // "": as configured
	task          bool          // --selftest=task
	held          time.Duration // --for: how long a hold lasts; 0: until it is released
	why           string        // -m
	vmid          proxmox.VMID
}

// optional is the value of a flag that may stand alone or bear a value after an equals sign.
type optional struct {
	given bool
	value string
	check func(string) error
}

func (o *optional) String() string {
	if !o.given {
		return "false"
	}
	return o.value
}

func (o *optional) IsBoolFlag() bool { return true }
func (o *optional) Set(s string) error {
	o.given = s != "false"
	if s == "true" || s == "false" { // package flag's word for a flag that stands alone
		s = ""
	}
	o.value = s
	if o.check != nil {
		return o.check(s)
	}
	return nil
}

// parse reads a command line, without touching anything. Package flag stops at the first argument that
// is no flag, and what stands behind it would be lost in silence; so it is called again after each.
func parse(args []string) (*command, error) {
	cmd := &command{path: defaultPath}
	fs := flag.NewFlagSet("felhom-agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	chosen := map[string]*bool{}
	for _, m := range modes {
		switch {
		case m.value:
			given := new(bool)
			chosen[m.name] = given
			fs.Func(m.name, "", func(s string) error {
				if *given {
					return fmt.Errorf("%q is named too: one at a time", cmd.name)
				}
				if strings.HasPrefix(s, "-") {
					return fmt.Errorf("a name belongs between --%s and %s", m.name, s)
				}
				*given, cmd.name = true, s
				return config.NotEmpty(s)
			})
		case m.name != "" && m.name != "selftest":
			chosen[m.name] = fs.Bool(m.name, false, "")
		}
	}
	selftest := &optional{check: config.OneOf("", "task")}
	fs.Var(selftest, "selftest", "")
	chosen["selftest"] = &selftest.given
	fs.Func("for", "", durationFlag(&cmd.held))
	fs.Func("m", "", func(s string) error { cmd.why = s; return config.NotEmpty(s) })
	simulate := &optional{}
	fs.Var(simulate, "simulate", "")
	fs.StringVar(&cmd.config, "config", "", "")
	fs.Func("o", "", func(s string) error { cmd.json = s == "json"; return config.OneOf("text", "json")(s) })
	fs.BoolVar(&cmd.verbose, "v", false, "")
	fs.Func("only", "", func(s string) error { cmd.only = append(cmd.only, s); return config.NotEmpty(s) })
	fs.Func("state", "", func(s string) error { cmd.state = s; return config.NotEmpty(s) })
	fs.Func("interval", "", config.IntervalTo(&cmd.interval))
	fs.Func("timeout", "", durationFlag(&cmd.timeout))
	fs.Func("log-level", "", func(s string) (err error) { cmd.logLevel, err = config.ParseLevel(s); return err })
	fs.Func("log-format", "", func(s string) error { cmd.logFormat = s; return config.OneOf(config.LogFormats...)(s) })
	fs.Func("vmid", "", func(s string) (err error) { cmd.vmid, err = proxmox.ParseVMID(s); return err })

	var paths []string
	for rest := args; len(rest) > 0; {
		err := fs.Parse(rest)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return &command{mode: &modes[0]}, nil
		case err != nil:
			return nil, flagError(fs, err)
		}
		left := fs.Args()
		if at := len(rest) - len(left); at > 0 && rest[at-1] == "--" { // all that follows is no flag
			paths = append(paths, left...)
			break
		}
		if len(left) == 0 {
			break
		}
		paths, rest = append(paths, left[0]), left[1:]
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() != "false" })
	return cmd, cmd.settle(chosen, given, paths, selftest, simulate)
}

// settle checks that what was given makes sense together.
func (cmd *command) settle(chosen map[string]*bool, given map[string]bool, paths []string, selftest, simulate *optional) error {
	var named []string
	for i := range modes {
		if m := &modes[i]; m.name != "" && *chosen[m.name] {
			cmd.mode, named = m, append(named, "--"+m.name)
		}
	}
	switch {
	case len(named) > 1:
		return usagef("%s are two modes: give one", strings.Join(named, " and "))
	case len(named) == 0 && len(paths) > 0 && (chosen[paths[0]] != nil || paths[0] == "help"):
		return usagef("a mode is written with dashes: --%s", paths[0])
	case len(named) == 0 && len(paths) > 0:
		return usagef("what shall be done with %s? Say --plan, --once or --watch", cmp.Or(paths[0], `""`))
	case len(named) == 0:
		cmd.mode = &modes[0]
	}
	mode := "--" + cmd.mode.name
	if cmd.mode.name == "" {
		mode = "no mode"
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, isMode := chosen[name]; !isMode && given[name] && !slices.Contains(cmd.mode.options, name) {
			return usagef("%s makes no sense with %s", dashed(name), mode)
		}
	}
	switch {
	case len(paths) > 1 && given["simulate"] && simulate.value == "":
		return usagef("%q and %q are two paths: give one (the file of a simulated node is joined to its flag: --simulate=FILE)", paths[0], paths[1])
	case len(paths) > 1:
		return usagef("%q and %q are two paths: give one", paths[0], paths[1])
	case len(paths) == 1 && !cmd.mode.path:
		return usagef("%s takes no PATH, but %q is given", mode, paths[0])
	case len(paths) == 1 && paths[0] == "":
		return usagef("the PATH is empty: name a file or folder, or leave it out for %s", defaultPath)
	case len(paths) == 1:
		cmd.path = paths[0]
	}
	cmd.simulate, cmd.world, cmd.task = simulate.given, simulate.value, selftest.value == "task"
	switch {
	case cmd.task && cmd.vmid == 0:
		return usagef("--selftest=task takes a snapshot of a guest and deletes it: say of which, with -vmid N")
	case !cmd.task && cmd.vmid != 0:
		return usagef("-vmid makes no sense without --selftest=task")
	case cmd.mode.name == "history" && len(cmd.only) > 1:
		return usagef("--history shows one object at a time: give one --only")
	case (cmd.mode.name == "history" || cmd.mode.name == "status") && cmd.simulate && cmd.world == "" && cmd.state == "":
		return usagef("a simulated node in memory has no %s: say --simulate=FILE", cmd.mode.name)
	}
	return nil
}

var flagValue = regexp.MustCompile(`^invalid (?:boolean )?value "(.*)" for (?:flag )?-(\S+): (.*)$`)

// flagError says what package flag said, as a sentence.
func flagError(fs *flag.FlagSet, err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var known []string
		fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
		if best := spec.Nearest(name, known); best != "" && len(name) > 2 {
			return usagef("there is no flag %s: did you mean %s?", dashed(name), dashed(best))
		}
		return usagef("there is no flag %s; felhom-agent without arguments lists them", dashed(name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("%s needs a value", dashed(name))
	}
	if m := flagValue.FindStringSubmatch(text); m != nil {
		if m[3] == "parse error" {
			m[3] = "it takes no value"
		}
		return usagef("%s %s: %s", dashed(m[2]), m[1], m[3])
	}
	return usagef("%s", text)
}

func dashed(name string) string {
	if len(name) == 1 || name == "vmid" {
		return "-" + name
	}
	return "--" + name
}

func durationFlag(to *time.Duration) func(string) error {
	return func(s string) (err error) {
		*to, err = config.ParseDuration(s)
		return err
	}
}
