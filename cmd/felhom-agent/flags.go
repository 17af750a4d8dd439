package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// defaultPath is the desired state that is meant where none is named.
const defaultPath = "/etc/felhom-agent/desired"

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
	testNotify    bool          // --selftest=notify
	held          time.Duration // --for: how long a hold lasts; 0: until it is released
	why           string        // -m
	vmid          proxmox.VMID
	out           string   // --out: where the plan is saved
	lines         int      // -n: of the history
	since         string   // --since: of the history
	failed        bool     // --failed: of the history
	now           []string // --now: what is made at once
	planFile      string   // --plan-file: the saved plan that is carried out
	from          string   // --from: where the recovery kit is
	takeOver      string   // --take-over: the owner of a kit of another node
	preview       bool     // --plan beside --recover
	yes, onto     bool     // --yes, --onto-existing
	tests, notify bool     // --restore-tests, --notify: of --print-setup
	rehearsed     *command // what --rehearse was called with, where this is its run on the copy
	ask           bool     // --ask: show the plan and ask
	resolved      bool     // --resolved: print the YAML after defaults
	git           string   // --git: the configuration of --pull
	vms           bool     // --vms: the setup is for a household with virtual machines

	passwords, keys map[string]string // --password-file, --key-file: files, by storage
}

// alone is the value of a flag that stands without one, where it may have one.
const alone = "\x00"

// flags are the flags of a command line, which fill cmd as they are read.
func (cmd *command) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("felhom-agent", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	for _, m := range modes[1:] {
		switch {
		case m.arg != "":
			fs.Func(m.name, m.usage, cmd.named(m.name))
			fs.Lookup(m.name).Value = called{fs.Lookup(m.name).Value, m.arg}
		case m.name != "selftest":
			fs.Bool(m.name, false, m.usage)
		}
	}
	set := map[string]func(string) error{
		"selftest":   cmd.setSelftest,
		"simulate":   func(s string) error { cmd.simulate, cmd.world = s != "false", s; return nil },
		"config":     func(s string) error { cmd.config = s; return nil },
		"git":        func(s string) error { cmd.git = s; return config.NotEmpty(s) },
		"only":       func(s string) error { cmd.only = append(cmd.only, s); return config.NotEmpty(s) },
		"output":     func(s string) error { cmd.json = s == "json"; return config.OneOf("text", "json")(s) },
		"state":      func(s string) error { cmd.state = s; return config.NotEmpty(s) },
		"interval":   config.IntervalTo(&cmd.interval),
		"timeout":    durationFlag(&cmd.timeout),
		"for":        durationFlag(&cmd.held),
		"message":    func(s string) error { cmd.why = s; return config.NotEmpty(s) },
		"vmid":       func(s string) (err error) { cmd.vmid, err = proxmox.ParseVMID(s); return err },
		"from":       func(s string) error { cmd.from = s; return config.NotEmpty(s) },
		"take-over":  func(s string) error { cmd.takeOver = s; return config.NotEmpty(s) },
		"out":        func(s string) error { cmd.out = s; return config.NotEmpty(s) },
		"lines":      func(s string) (err error) { cmd.lines, err = config.ParseCount(s); return err },
		"since":      func(s string) error { cmd.since = s; _, err := sinceWhen(s, time.Now()); return err },
		"now":        func(s string) error { cmd.now = append(cmd.now, s); return config.NotEmpty(s) },
		"plan-file":  func(s string) error { cmd.planFile = s; return config.NotEmpty(s) },
		"log-level":  func(s string) (err error) { cmd.logLevel, err = config.ParseLevel(s); return err },
		"log-format": func(s string) error { cmd.logFormat = s; return config.OneOf(config.LogFormats...)(s) },
	}
	set["password-file"], set["key-file"] = fileOf(&cmd.passwords), fileOf(&cmd.keys)
	flagged := map[string]*bool{"resolved": &cmd.resolved, "verbose": &cmd.verbose, "ask": &cmd.ask, "yes": &cmd.yes, "onto-existing": &cmd.onto, "failed": &cmd.failed, "vms": &cmd.vms, "restore-tests": &cmd.tests, "notify": &cmd.notify}
	add := func(o option) {
		if o.arg == "" {
			fs.BoolVarP(flagged[o.name], o.name, o.short, false, o.usage)
			return
		}
		read := set[o.name]
		fs.FuncP(o.name, o.short, o.usage, func(s string) error { return read(strings.TrimPrefix(s, alone)) })
		f := fs.Lookup(o.name)
		f.Value = called{f.Value, o.arg}
		if o.optional {
			f.NoOptDefVal = alone
		}
	}
	add(option{name: "selftest", arg: "task|notify", optional: true, usage: modeOf("selftest").usage})
	for _, o := range options {
		add(o)
	}
	return fs
}

// called is a value with the name that help gives it.
type called struct {
	pflag.Value
	name string
}

func (c called) Type() string { return c.name }

// named reads what a mode is about.
func (cmd *command) named(mode string) func(string) error {
	return func(s string) error {
		if cmd.name != "" && cmd.name != s {
			return fmt.Errorf("%q is named too: one at a time", cmd.name)
		}
		if strings.HasPrefix(s, "-") {
			return fmt.Errorf("a name belongs between --%s and %s", mode, s)
		}
		cmd.name = s
		return config.NotEmpty(s)
	}
}

// parse reads a command line, without touching anything.
func parse(args []string) (*command, error) {
	cmd := &command{path: defaultPath}
	fs := cmd.flags()
	switch err := fs.Parse(twoDashes(fs, args)); {
	case errors.Is(err, pflag.ErrHelp):
		return &command{mode: &modes[0]}, nil
	case err != nil:
		return nil, flagError(fs, err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.Type() != "bool" || f.Value.String() == "true" })
	given["simulate"] = cmd.simulate
	return cmd, cmd.settle(given, fs.Args())
}

// fileOf reads STORAGE=FILE.
func fileOf(into *map[string]string) func(string) error {
	return func(s string) error {
		storage, file, ok := strings.Cut(s, "=")
		if !ok || storage == "" || file == "" {
			return errors.New("expected STORAGE=FILE")
		}
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[storage] = file
		return nil
	}
}

// twoDashes writes -once as --once, which to pflag would be -o -n -c -e: every other tool of a Proxmox VE host
// takes long options with one dash.
func twoDashes(fs *pflag.FlagSet, args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		word, ok := strings.CutPrefix(arg, "-")
		name, _, _ := strings.Cut(word, "=")
		if ok && len(name) > 1 && fs.Lookup(name) != nil {
			args[i] = "-" + arg
		}
	}
	return args
}

// settle checks that what was given makes sense together.
func (cmd *command) settle(given map[string]bool, paths []string) error {
	var named []string
	if given["recover"] && given["plan"] {
		cmd.preview, given["plan"] = true, false
	}
	for i := range modes {
		if m := &modes[i]; given[m.name] {
			cmd.mode, named = m, append(named, "--"+m.name)
		}
	}
	switch {
	case len(named) > 1:
		return usagef("%s are two modes: give one", strings.Join(named, " and "))
	case len(named) == 0 && len(paths) > 0 && (modeOf(paths[0]) != nil || paths[0] == "help"):
		return usagef("a mode is written with dashes: --%s", paths[0])
	case len(named) == 0 && len(paths) > 0:
		return usagef("a mode is missing for %s: give --plan, --once or --watch", cmp.Or(paths[0], `""`))
	case len(named) == 0:
		cmd.mode = &modes[0]
	}
	mode := "--" + cmd.mode.name
	if cmd.mode.name == "" {
		mode = "no mode"
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] && modeOf(name) == nil && !slices.Contains(cmd.mode.options, name) {
			return usagef("%s cannot be used with %s", dashed(name), mode)
		}
	}
	switch {
	case len(paths) > 1 && given["simulate"] && cmd.world == "":
		return usagef("%q and %q are two paths: give one (the file of a simulated node is joined to its flag: --simulate=FILE)", paths[0], paths[1])
	case len(paths) > 1:
		return usagef("%q and %q are two paths: give one", paths[0], paths[1])
	case len(paths) == 1 && paths[0] == "":
		return usagef("the PATH is empty: name a file or folder, or leave it out for %s", defaultPath)
	case len(paths) == 1:
		cmd.path = paths[0]
	}
	switch {
	case cmd.task && cmd.vmid == 0:
		return usagef("--selftest=task takes a snapshot of a guest and deletes it: say of which, with --vmid N")
	case cmd.planFile != "" && len(cmd.only) > 0:
		return usagef("--only cannot be used with --plan-file: the plan was limited when it was saved")
	case len(cmd.now) > 0 && (cmd.planFile != "" || len(cmd.only) > 0):
		return usagef("--now cannot be used with --only or --plan-file: it names what is made")
	case cmd.planFile != "" && cmd.ask:
		return usagef("--ask cannot be used with --plan-file: the plan was reviewed when it was saved")
	case cmd.ask && cmd.json:
		return usagef("--ask cannot be used with -o json: it shows the plan to you")
	case !cmd.task && cmd.vmid != 0:
		return usagef("--vmid needs --selftest=task")
	case (cmd.mode.name == "history" || cmd.mode.name == "status") && cmd.simulate && cmd.world == "" && cmd.state == "":
		return usagef("a simulated node in memory has no %s: say --simulate=FILE", cmd.mode.name)
	}
	return nil
}

// flagError says what pflag said, as a sentence.
func flagError(fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name, typed := unknown.GetSpecifiedName(), "--"+unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			name, typed = short, "-"+short
		}
		var known []string
		fs.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if best := spec.Nearest(name, known); best != "" && len(name) > 2 {
			return usagef("unknown flag %s: did you mean --%s?", typed, best)
		}
		return usagef("unknown flag %s: felhom-agent without arguments lists all flags", typed)
	case errors.As(err, &missing):
		return usagef("%s needs a value", dashed(missing.GetFlag().Name))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		why := invalid.Unwrap().Error()
		if f.Value.Type() == "bool" {
			why = "it takes no value"
		}
		return usagef("%s %s: %s", dashed(f.Name), strings.TrimPrefix(invalid.GetValue(), alone), why)
	}
	return usagef("%s", err)
}

// dashed is a flag as people type it.
func dashed(name string) string {
	for _, o := range options {
		if o.name == name && o.short != "" {
			return "-" + o.short
		}
	}
	return "--" + name
}

func durationFlag(to *time.Duration) func(string) error {
	return func(s string) (err error) {
		*to, err = config.ParseDuration(s)
		return err
	}
}
