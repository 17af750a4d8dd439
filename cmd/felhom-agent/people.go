package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runExport prints the containers of the node as a desired state that takes them over.
func runExport(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	x, err := reconcile.ExportNode(ctx, n.Source, n.Journal)
	if err != nil {
		return 0, n.Explain(err)
	}
	fmt.Fprint(con.Stdout, x.Text)
	code := exit.OK
	if len(x.Missing) > 0 {
		con.Say("the export lacks:\n  %s", strings.Join(x.Missing, "\n  "))
		code = exit.Blocked
	}
	if len(x.Unseen) > 0 {
		con.Say("the export is not complete; the token could not see:\n  %s", strings.Join(x.Unseen, "\n  "))
		code = exit.Blocked
	}
	return code, nil
}

// runHold freezes an object, or all. It needs no node, and works while the YAML is broken.
func runHold(_ context.Context, cmd *command, con *console.Console) (int, error) {
	dir, err := heldIn(cmd)
	if err != nil {
		return 0, err
	}
	name, err := heldName(cmd, con)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return 0, fmt.Errorf("the state directory cannot be made: %w", err)
	}
	now, err := clockOf(cmd, con)
	if err != nil {
		return 0, err
	}
	h := reconcile.Hold{Name: name, Kind: reconcile.HoldPerson, Why: oneLine(cmd.why), By: whoAmI(), Since: now.Truncate(time.Second)}
	until := "until it is released"
	if cmd.held > 0 {
		h.Until = now.Add(cmd.held).Truncate(time.Second)
		until = "until " + h.Until.Format("Mon 2 Jan 15:04:05 MST")
	}
	if err := reconcile.OpenStore(dir).AddHold(h); err != nil {
		return 0, err
	}
	what := name
	if name == "all" {
		what = "everything"
	}
	fmt.Fprintf(con.Stdout, "%s is on hold %s. Running tasks continue; nothing new starts. To release it: felhom-agent --release %s%s\n", what, until, name, cmd.again())
	return exit.OK, nil
}

// runRelease lets go of what was held.
func runRelease(_ context.Context, cmd *command, con *console.Console) (int, error) {
	dir, err := heldIn(cmd)
	if err != nil {
		return 0, err
	}
	store := reconcile.OpenStore(dir)
	stored, err := store.Load()
	if err != nil {
		return 0, err
	}
	var held, any []string // by their full names; a disk that was ejected is let go by its name only
	for _, h := range stored.Holds {
		if h.Kind != reconcile.HoldEjected && !slices.Contains(held, h.Name) {
			held = append(held, h.Name)
		}
		if !slices.Contains(any, h.Name) {
			any = append(any, h.Name)
		}
	}
	name := cmd.name
	var fits []string
	for _, h := range any {
		if _, short, _ := strings.Cut(h, "/"); h == name || short == name {
			fits = append(fits, h)
		}
	}
	switch {
	case name == "all" && len(held) == 0:
		fmt.Fprintln(con.Stdout, "There was no hold.")
		return exit.OK, nil
	case name == "all":
	case len(fits) == 1:
		name = fits[0]
	case len(fits) > 1:
		return 0, usagef("--release %s fits %s: say which", name, strings.Join(fits, ", "))
	default:
		if name, err = heldName(cmd, con); err != nil {
			return 0, err
		}
		text := name + " was not on hold."
		if slices.Contains(held, "all") {
			text += " Everything is: felhom-agent --release all" + cmd.again()
		}
		fmt.Fprintln(con.Stdout, text)
		return exit.OK, nil
	}
	count, err := store.Release(name)
	if err != nil {
		return 0, err
	}
	what := name
	if name == "all" {
		what = strings.Join(held, ", ")
	}
	fmt.Fprintf(con.Stdout, "%s %s no longer on hold (%s).\n", what, map[bool]string{true: "is", false: "are"}[name != "all" || len(held) == 1], session.Plural(count, "hold", "holds"))
	return exit.OK, nil
}

// heldIn is the state directory in which a hold is kept.
func heldIn(cmd *command) (string, error) {
	if cmd.simulate && cmd.world == "" && cmd.state == "" {
		return "", usagef("a simulated node in memory is gone before a hold could matter: say --simulate=FILE")
	}
	dir, err := stateOf(cmd)
	if err != nil {
		return "", err
	}
	return dir, asOwner(dir)
}

// asOwner makes root the owner of the state directory, so that the service can read and replace later what
// we write now.
func asOwner(dir string) error { return session.BecomeOwner(dir, "") }

// heldName finds the one object that a name means. A full name is taken also when the YAML cannot be read:
// who wants to stop something is not told to correct a file first.
func heldName(cmd *command, con *console.Console) (string, error) {
	if cmd.name == "all" {
		return "all", nil
	}
	mode := "--" + cmd.mode.name
	want, err := cmd.load()
	if err != nil {
		if ref, e := spec.ParseRef(cmd.name); e == nil {
			con.Say("%s cannot be read at the moment, so it is unknown whether there is a %s", cmd.path, ref)
			return ref.String(), nil
		}
		return "", fmt.Errorf("%w\n%s %s: give the full name, such as restores/%s, or correct the files", err, mode, cmd.name, cmd.name)
	}
	refs, err := named(want, mode, []string{cmd.name})
	if err != nil {
		return "", err
	}
	if len(refs) > 1 { // one object per guest, all of them
		return spec.Ref{Kind: refs[0].Kind, Name: want.Object(refs[0]).Series()}.String(), nil
	}
	return refs[0].String(), nil
}

// clockOf is the clock by which a hold is kept: the node's, which a simulated node has of its own.
func clockOf(cmd *command, con *console.Console) (time.Time, error) {
	if cmd.world == "" {
		return time.Now(), nil
	}
	w, err := simulated.OpenWorld(context.Background(), con, cmd.world, false, false, time.Minute)
	if err != nil {
		return time.Time{}, err
	}
	defer w.Close()
	return w.Sim.Now(), nil
}

// whoAmI is the person at the terminal, also behind sudo.
func whoAmI() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	return config.User()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// runEject makes a disk safe to unplug.
func runEject(ctx context.Context, cmd *command, con *console.Console) (code int, err error) {
	want, err := cmd.load()
	if err != nil {
		return 0, err
	}
	name := strings.TrimPrefix(cmd.name, string(spec.KindMount)+"/")
	m := want.Mounts[name]
	if m == nil {
		return 0, usagef("--eject %s: no disk of that name is declared under mounts%s", cmd.name, config.Nearest(name, maps.Keys(want.Mounts)))
	}
	n, err := connect(ctx, cmd, con, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.Find(ctx); err != nil {
		return 0, n.Explain(err)
	}
	agent := reconcile.New(optionsOf(n, "--eject", nil))
	said, err := reconcile.Eject(ctx, agent, m, whoAmI(), cmd.timeout, func(line string) { fmt.Fprintln(con.Stdout, line) })
	var inUse *reconcile.InUseError
	switch {
	case errors.As(err, &inUse):
		con.Say("%v", err)
		return exit.Blocked, nil
	case errors.Is(err, reconcile.ErrStillBusy):
		con.Say("%v", err)
		return exit.GaveUp, nil
	case err != nil:
		return 0, n.Explain(err)
	}
	fmt.Fprintln(con.Stdout, said)
	return exit.OK, nil
}

// runPrintRollback prints the YAML of a rollback asked for now.
func runPrintRollback(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	i := strings.LastIndex(cmd.name, "/")
	if i <= 0 || i == len(cmd.name)-1 {
		return 0, usagef("--print-rollback %s: write GUEST/SNAPSHOT, such as nextcloud/before-32", cmd.name)
	}
	guest, snapshot := cmd.name[:i], cmd.name[i+1:]
	want, err := cmd.load()
	if err != nil {
		return 0, err
	}
	refs, err := named(want, "--print-rollback", []string{guest})
	if err != nil {
		return 0, err
	}
	if want.Guest(refs[0].Name) == nil || want.Guest(refs[0].Name).Ref != refs[0] {
		return 0, usagef("--print-rollback %s: %s is not a restore or guest", cmd.name, refs[0])
	}
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	text, err := reconcile.RollbackText(ctx, n.Source, want, n.Journal, refs[0], snapshot)
	if err != nil {
		return 0, n.Explain(err)
	}
	fmt.Fprint(con.Stdout, text)
	return exit.OK, nil
}
