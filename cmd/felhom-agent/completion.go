package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/spec"
)

// rootCommand describes the command line to cobra, which makes the completions and the manual page of it. The
// program itself reads its command line with parse, whose errors are sentences.
func rootCommand() *cobra.Command {
	root := &cobra.Command{Use: synopsis, Short: short, DisableAutoGenTag: true, DisableFlagsInUseLine: true, Run: func(*cobra.Command, []string) {}}
	cmd := &command{path: defaultPath}
	flags := root.Flags()
	flags.AddFlagSet(cmd.flags())
	for _, m := range modes[1:] {
		for _, other := range modes[1:] {
			if m.name < other.name {
				root.MarkFlagsMutuallyExclusive(m.name, other.name) // completion offers the second no more
			}
		}
		for _, o := range options {
			if !slices.Contains(m.options, o.name) {
				root.MarkFlagsMutuallyExclusive(m.name, o.name)
			}
		}
		if m.arg != "" || m.name == "selftest" {
			root.RegisterFlagCompletionFunc(m.name, offers(func(path string) []string { return valuesOf(m.name, path) }))
		}
	}
	for _, o := range options {
		switch {
		case o.name == "only":
			root.RegisterFlagCompletionFunc(o.name, offers(func(path string) []string { return valuesOf("only", path) }))
		case o.values != nil:
			root.RegisterFlagCompletionFunc(o.name, offers(func(string) []string { return o.values }))
		}
	}
	return root
}

// offers are the values of a flag that begin with what was typed. Once something is typed, names without their kind
// are offered too: dn becomes dns. Shells drop whatever does not begin with what was typed.
func offers(values func(path string) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		path := defaultPath
		if len(args) > 0 {
			path = args[0]
		}
		var fits []cobra.Completion
		for _, value := range values(path) {
			kind, name, _ := strings.Cut(value, "/")
			switch {
			case strings.HasPrefix(value, typed):
				fits = append(fits, value)
			case slices.Contains(spec.Kinds(), spec.Kind(kind)) && strings.HasPrefix(name, typed):
				fits = append(fits, name)
			}
		}
		return fits, cobra.ShellCompDirectiveNoFileComp
	}
}

// valuesOf lists what a flag may name. It never fails: what cannot be found out is not offered.
func valuesOf(flag, path string) []string {
	switch flag {
	case "completion":
		return []string{"bash", "fish", "zsh"}
	case "selftest":
		return []string{"task"}
	}
	want, err := (&command{path: path}).load()
	if err != nil {
		return nil
	}
	var names []string
	for _, ref := range want.Refs() {
		switch flag {
		case "only", "hold", "release":
			names = append(names, ref.String())
		case "eject":
			if ref.Kind == spec.KindMount {
				names = append(names, ref.Name)
			}
		case "print-rollback":
			if ref.Kind == spec.KindSnapshot {
				names = append(names, want.Snapshots[ref.Name].Guest+"/"+ref.Name)
			}
		}
	}
	if flag == "hold" || flag == "release" {
		names = append(names, "all")
	}
	return names
}

// runCompletion prints the completion of a shell, which asks the program itself, so that names of objects are
// those of the files as they are now.
func runCompletion(_ context.Context, cmd *command, con *console.Console) (int, error) {
	root := rootCommand()
	switch cmd.name {
	case "bash":
		return exit.OK, root.GenBashCompletionV2(con.Stdout, true)
	case "zsh":
		return exit.OK, root.GenZshCompletion(con.Stdout)
	case "fish":
		return exit.OK, root.GenFishCompletion(con.Stdout, true)
	}
	return 0, usagef("invalid shell %q: expected bash, fish or zsh", cmd.name)
}

// completing reports whether a shell asks for completions, and answers it.
func completing(args []string, con *console.Console) (bool, error) {
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return false, nil
	}
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(con.Stdout)
	root.SilenceErrors, root.SilenceUsage = true, true
	err := root.Execute()
	if err != nil {
		return true, fmt.Errorf("cannot complete: %w", err)
	}
	return true, nil
}
