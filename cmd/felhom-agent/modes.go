package main

import (
	"context"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/pull"
)

// A mode is what the program is asked to do: a flag without which nothing happens.
type mode struct {
	name    string
	arg     string   // what it is about, in help: "NAME"; "" where it takes none
	options []string // those that make sense with it
	group   string   // the heading of help under which it stands
	usage   string
	run     func(ctx context.Context, cmd *command, con *console.Console) (exit int, err error)
}

// The headings of help, in order.
const (
	groupConverge = "Converge"
	groupInspect  = "Inspect"
	groupStepIn   = "Step in"
	groupSetUp    = "Set up"
)

// modes are all modes. The first is the bare command.
var modes []mode

// They are set here since one of them, --completion, describes them all.
func init() {
	modes = []mode{
		{name: "", run: runBare},
		{name: "plan", run: runPlan, group: groupConverge, usage: "print what would change; cannot write",
			options: []string{"simulate", "config", "output", "verbose", "only", "out", "state", "log-level", "log-format"}},
		{name: "once", run: runOnce, group: groupConverge, usage: "converge once and exit",
			options: []string{"simulate", "config", "output", "verbose", "only", "now", "ask", "plan-file", "state", "timeout", "log-level", "log-format"}},
		{name: "rehearse", run: runRehearse, group: groupConverge, usage: "converge a simulated copy of the node and show the run; the node is only read",
			options: []string{"simulate", "config", "verbose", "only", "state", "timeout", "log-level", "log-format"}},
		{name: "test", arg: "NAME", run: runTest, group: groupConverge, usage: "test the newest backup of a guest now: restore it beside the guest, start, probe and delete it; a guest (web), or an object (tests/weekly)",
			options: []string{"simulate", "config", "output", "verbose", "state", "timeout", "log-level", "log-format"}},
		{name: "watch", run: runWatch, group: groupConverge, usage: "run continuously: converge on file changes, on drift, and on schedule",
			options: []string{"simulate", "config", "verbose", "only", "state", "interval", "timeout", "log-level", "log-format"}},
		{name: "status", run: runStatus, group: groupInspect, usage: "what the service does now, what is blocked, the last verified backups",
			options: []string{"simulate", "config", "output", "state"}},
		{name: "history", run: runHistory, group: groupInspect, usage: "what was done here; with --only some objects, with the logs of their tasks",
			options: []string{"simulate", "config", "output", "verbose", "only", "lines", "since", "failed", "state"}},
		{name: "check", run: runCheck, group: groupInspect, usage: "check the YAML and agent.yaml, without a node; with --resolved print the YAML as it is after defaults and anchors",
			options: []string{"config", "resolved"}},
		{name: "selftest", run: runSelftest, group: groupInspect, usage: "check connection, privileges, storages and clock; changes nothing. --selftest=task also runs one real task: a snapshot of the guest --vmid, taken and deleted. --selftest=notify sends one test to each that notify names",
			options: []string{"simulate", "config", "vmid", "log-level", "log-format"}},
		{name: "privileges", run: runPrivileges, group: groupInspect, usage: "compare the privileges that the YAML needs with those of the token",
			options: []string{"simulate", "config", "output", "state", "log-level", "log-format"}},
		{name: "hold", arg: "NAME", run: runHold, group: groupStepIn, usage: "block all writes to an object, or to all",
			options: []string{"simulate", "config", "state", "for", "message"}},
		{name: "release", arg: "NAME", run: runRelease, group: groupStepIn, usage: "release a hold",
			options: []string{"simulate", "config", "state"}},
		{name: "eject", arg: "NAME", run: runEject, group: groupStepIn, usage: "make the disk of a mount safe to remove",
			options: []string{"simulate", "config", "state", "timeout", "log-level", "log-format"}},
		{name: "print-rollback", arg: "GUEST/SNAPSHOT", run: runPrintRollback, group: groupStepIn, usage: "print the YAML lines of a rollback requested now, and what it would lose",
			options: []string{"simulate", "config", "state", "log-level", "log-format"}},
		{name: "export", run: runExport, group: groupSetUp, usage: "print the guests of the node as YAML that adopts them unchanged",
			options: []string{"simulate", "config", "state", "log-level", "log-format"}},
		{name: "recover", run: runRecover, group: groupSetUp, usage: "set this host up again from the recovery kit of a backup disk (PATH: its folder, or the UUID of the disk), and bring the guests back; with --plan only show how",
			options: []string{"simulate", "from", "yes", "onto-existing", "take-over", "password-file", "key-file"}},
		{name: "pull", run: runPull, group: groupSetUp, usage: "bring the desired state from a git repository: fast-forward only, signed where asked for, checked, and switched at once",
			options: []string{"git", "state"}},
		{name: "print-setup", run: runSetup, group: groupSetUp, usage: "print the pveum lines for user, role and token; with --vms also what VMs need", options: []string{"config", "vms", "restore-tests", "notify"}},
		{name: "print-sudoers", run: runSudoers, group: groupSetUp, usage: "print the sudoers line for the root helper"},
		{name: "schema", run: runSchema, group: groupSetUp, usage: "print the JSON Schema of the YAML"},
		{name: "routes", run: runRoutes, group: groupSetUp, usage: "print which operation goes through the API or the root helper, and why"},
		{name: "completion", arg: "SHELL", run: runCompletion, group: groupSetUp, usage: "print the completion of bash, zsh or fish"},
		{name: "version", run: runVersion, group: groupSetUp, usage: "print version, commit and Go version"},
	}
}

// modeOf returns the mode of a name, or nil.
func modeOf(name string) *mode {
	for i := range modes {
		if modes[i].name == name && name != "" {
			return &modes[i]
		}
	}
	return nil
}

// An option is a flag beside the mode.
type option struct {
	name, short string
	arg         string // in help; "" where it takes no value
	optional    bool   // its value may be left out, and is joined to it: --simulate=FILE
	usage       string
	values      []string // what completion offers
}

// options are all options, in the order of help.
var options = []option{
	{name: "simulate", arg: "FILE", optional: true, usage: "use a simulated node instead of a real one, in memory or kept in FILE"},
	{name: "config", arg: "FILE", usage: "the configuration (default " + config.DefaultConfig + "); " + config.EnvPrefix + "KEY overrides a key of it"},
	{name: "git", arg: "FILE", usage: "the configuration of --pull (default " + pull.DefaultConfig + ")"},
	{name: "only", arg: "NAME", usage: "only this object, what it needs, and its snapshots and backups: restores/web, web, a list (web,dns), a kind (guests) or a glob ('svc-*'); may be repeated"},
	{name: "now", arg: "NAME", usage: "make a backup or periodic snapshot at once, and nothing else: backups/nightly, backups/nightly/web, snapshots/hourly; may be repeated"},
	{name: "lines", short: "n", arg: "N", usage: "only the newest N actions"},
	{name: "since", arg: "WHEN", usage: "only actions since a time: 2d, or 2026-11-22"},
	{name: "failed", usage: "only actions that failed, with the logs of their tasks"},
	{name: "out", arg: "FILE", usage: "also save the plan: what --plan-file carries out"},
	{name: "plan-file", arg: "FILE", usage: "carry out exactly this saved plan, or nothing"},
	{name: "ask", usage: "show the plan and ask before it is carried out"},
	{name: "resolved", usage: "print the YAML after defaults, anchors and merges, with one object for each guest"},
	{name: "output", short: "o", arg: "FORMAT", usage: "text or json", values: []string{"text", "json"}},
	{name: "verbose", short: "v", usage: "also list what is as declared, and the route of each action"},
	{name: "state", arg: "DIR", usage: "journal, holds and lock (default $STATE_DIRECTORY, else " + config.DefaultState + ")"},
	{name: "interval", arg: "DURATION", usage: "time between refreshes against drift, such as 15m"},
	{name: "timeout", arg: "DURATION", usage: "how long locks of others are waited for, such as 10m"},
	{name: "for", arg: "DURATION", usage: "how long a hold lasts", values: []string{"30m", "1h", "4h", "1d", "7d"}},
	{name: "message", short: "m", arg: "WHY", usage: "why a hold is set"},
	{name: "from", arg: "PATH", usage: "the folder or the UUID of the disk with the recovery kit; without it every connected disk is searched"},
	{name: "yes", usage: "carry a recovery out without asking"},
	{name: "onto-existing", usage: "recover although the host has guests of others, or VMIDs of the kit in use; these are left alone"},
	{name: "take-over", arg: "OWNER", usage: "use the recovery kit of a node with another name: the owner in its ownership markers"},
	{name: "password-file", arg: "STORAGE=FILE", usage: "the file with the password of a storage that a recovery creates (else you are asked); may be repeated"},
	{name: "key-file", arg: "STORAGE=FILE", usage: "the file with the encryption key of such a storage on a Proxmox Backup Server; may be repeated"},
	{name: "vms", usage: "also the privileges that a household with VMs needs"},
	{name: "restore-tests", usage: "the lines for the second token, that of restore tests, which may delete the guests of one pool alone"},
	{name: "notify", usage: "the drop-in that lets the service reach what notify names, and hands it their secrets"},
	{name: "vmid", arg: "N", usage: "the guest of --selftest=task"},
	{name: "log-level", arg: "LEVEL", usage: "debug, info, warn or error", values: []string{"debug", "info", "warn", "error"}},
	{name: "log-format", arg: "FORMAT", usage: "console or json", values: config.LogFormats},
}
