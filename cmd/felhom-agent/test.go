package main

import (
	"context"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// runTest runs the restore tests of a guest, or of an object, now and whatever their schedule says.
func runTest(ctx context.Context, cmd *command, con *console.Console) (code int, err error) {
	want, _, err := desired(cmd, con)
	if err != nil {
		return 0, err
	}
	if cmd.now, err = testedNow(want, cmd.name); err != nil {
		return 0, err
	}
	return runOnce(ctx, cmd, con)
}

// allowTests gives a simulated node the user, the token and the pool of restore tests, where it has none, and uses them.
func allowTests(n *session.Session, sim *pvesim.Sim) error {
	var err error
	if n.Config.TestsToken, err = proxmox.NewTestToken(sim.AllowTests(proxmox.TestPool)); err != nil {
		return err
	}
	return n.ConnectTests(proxmox.Options{Token: n.Config.Token, Transport: sim})
}

// testedNow finds the restore tests that --test names: those of a guest, or an object of them.
func testedNow(want *spec.Desired, name string) ([]string, error) {
	if strings.HasPrefix(name, string(spec.KindTest)+"/") {
		return []string{name}, nil
	}
	guest := name[strings.LastIndex(name, "/")+1:]
	var found, all []string
	for _, ref := range want.Refs() {
		if ref.Kind != spec.KindTest {
			continue
		}
		all = append(all, ref.String())
		if slices.Contains(want.TestGuests(want.Tests[ref.Name]), guest) {
			found = append(found, ref.String()+"/"+guest)
		}
	}
	switch {
	case len(all) == 0:
		return nil, usagef("--test %s: no restore test is declared; fix: add a section tests: (docs/restore-tests.md)", name)
	case len(found) == 0:
		return nil, usagef("--test %s: no restore test has the guest %s: %s; fix: add it to guests: of one", name, guest, strings.Join(all, ", "))
	}
	return found[:1], nil
}
