package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

func runVersion(_ context.Context, _ *command, con *console.Console) (int, error) {
	commit, golang := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		golang = info.GoVersion
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		commit = cmp.Or(settings["vcs.revision"], commit)
		if settings["vcs.modified"] == "true" {
			commit += " with changes"
		}
	}
	fmt.Fprintf(con.Stdout, "felhom-agent %s, commit %s, %s\n", version.Version, commit, golang)
	return exit.OK, nil
}

func runSchema(_ context.Context, _ *command, con *console.Console) (int, error) {
	schema, err := spec.Schema()
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(con.Stdout, "%s\n", strings.TrimRight(string(schema), "\n"))
	return exit.OK, nil
}

// serviceUser is the user as whom the installed service runs.
const serviceUser = "felhom-agent"

func runSudoers(_ context.Context, _ *command, con *console.Console) (int, error) {
	fmt.Fprint(con.Stdout, privileged.Sudoers(serviceUser))
	return exit.OK, nil
}

// needed are the privileges that the agent's token must have.
var needed = recovery.Privileges

// What --print-setup makes.
const (
	setupUser  = "felhom@pve"
	setupToken = "agent"
	setupRole  = recovery.Role
)

// runSetup prints the commands that give the agent its rights, with the names of this host: its token is of
// the user and name that the configuration says. The token is separate from its user and has only what both are
// given; so the role is given to both.
func runSetup(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	if cmd.notify && (cmd.tests || cmd.vms) || cmd.tests && cmd.vms {
		return 0, usagef("--vms, --restore-tests and --notify print lines of their own: give one of them")
	}
	if cmd.notify {
		return exit.OK, printNotifySetup(ctx, cmd, con)
	}
	here, err := os.Hostname()
	if err != nil {
		return 0, err
	}
	here, _, _ = strings.Cut(here, ".")
	given := config.GivenIn(cmd.config, os.Environ())
	node := cmp.Or(given["node"].Value, here)
	if _, err := os.Stat("/etc/pve"); err != nil && given["node"].Value == "" {
		node = "the node"
	}
	if cmd.tests {
		return exit.OK, printTestsSetup(con.Stdout, given["tests_token_id"].Value, given["tests_token_id"].Place, node)
	}
	id := cmp.Or(given["token_id"].Value, setupUser+"!"+setupToken)
	if _, err := proxmox.NewToken(id, "unknown"); err != nil {
		return 0, &config.Error{Place: given["token_id"].Place, Key: "token_id", Text: err.Error()}
	}
	user, token, _ := strings.Cut(id, "!")
	privileges := needed
	if cmd.vms {
		privileges = slices.Sorted(slices.Values(slices.Concat(needed, recovery.VMPrivileges)))
	}
	fmt.Fprintf(con.Stdout, `# As root on %[5]s, once; in a cluster its nodes share user and role. The secret is printed by the third line, and
# never again.
pveum role add %[1]s --privs '%[2]s'
pveum user add %[3]s --comment felhom-agent
pveum user token add %[3]s %[4]s --privsep 1 --comment 'felhom-agent on %[6]s'
pveum acl modify / --users %[3]s --roles %[1]s
pveum acl modify / --tokens '%[3]s!%[4]s' --roles %[1]s
`, setupRole, strings.Join(privileges, ","), user, token, node, here)
	return exit.OK, nil
}

// stateOf is the state directory that is meant, for modes that contact no node.
func stateOf(cmd *command) (string, error) {
	dir := cmd.state
	if dir == "" && cmd.world != "" {
		dir = cmd.world + ".state"
	}
	if dir == "" {
		c, err := config.Read(cmd.config, os.Environ(), cmd.simulate)
		if err != nil {
			return "", err
		}
		dir = cmp.Or(c.State, session.FirstOf(os.Getenv("STATE_DIRECTORY")), config.DefaultState)
	}
	return dir, nil
}
