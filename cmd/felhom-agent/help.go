package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
)

const (
	short    = "keep a Proxmox VE node in the state described by a folder of YAML files"
	synopsis = "felhom-agent MODE [options] [PATH]"
)

// writeHelp prints the modes and options, from the one table that also makes the completions and the manual page.
func writeHelp(w io.Writer) {
	fmt.Fprintf(w, "felhom-agent: %s\n\n    %s     PATH: a file or folder of YAML (default %s)\n", short, synopsis, defaultPath)
	t := tabwriter.NewWriter(w, 26, 0, 3, ' ', 0)
	row := func(typed, usage string) {
		for i, part := range folded(usage, 72) {
			if i > 0 {
				typed = ""
			}
			fmt.Fprintf(t, "  %s\t%s\n", typed, part)
		}
	}
	group := ""
	for _, m := range modes[1:] {
		if m.group != group {
			group = m.group
			fmt.Fprintf(t, "\n%s\n", group)
		}
		row(strings.TrimSpace("--"+m.name+" "+m.arg), m.usage)
	}
	fmt.Fprintf(t, "\nOptions\n")
	for _, o := range options {
		typed := "--" + o.name
		if o.short != "" {
			typed = "-" + o.short + ", " + typed
		}
		switch {
		case o.optional:
			typed += "[=" + o.arg + "]"
		case o.arg != "":
			typed += " " + o.arg
		}
		row(typed, o.usage)
	}
	t.Flush()
	fmt.Fprintf(w, "\nTry it without a node:   felhom-agent --simulate --once examples/desired\n")
}

// folded breaks a usage into lines of at most width letters.
func folded(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// runBare prints the help. It reads nothing, so that a mistyped command can do no harm.
func runBare(_ context.Context, _ *command, con *console.Console) (int, error) {
	writeHelp(con.Stdout)
	fmt.Fprintf(con.Stdout, "\nfelhom-agent %s: no mode given; nothing was read or changed.\n", version.Version)
	return exit.OK, nil
}
