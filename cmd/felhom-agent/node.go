package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
)

// connect makes ready what the command line and the configuration name. It does not contact the node yet.
// Without write nothing is written, neither by us nor by the simulated node's file.
func connect(ctx context.Context, cmd *command, con *console.Console, write bool) (*session.Session, error) {
	c, err := config.Read(cmd.config, os.Environ(), cmd.simulate)
	if err != nil {
		return nil, err
	}
	override(c, cmd)
	n := &session.Session{Config: c, Log: con.Logger(c.LogLevel, c.LogFormat)}
	if cmd.simulate {
		err = connectSimulated(ctx, n, cmd, con, write)
	} else {
		err = connectReal(n, con, write)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	n.Source.TokenID, n.Source.Drift, n.Source.MaxDeletions = c.Token.ID(), c.Drift, c.MaxDestructive
	n.Source.NotifyPVE = c.Notify.Pve
	n.Source.Tests = n.TestAccess()
	n.Source.View, n.Source.Fence = n.Client.Read(), nil
	if n.Runner != nil {
		n.Source.Fence = n.Runner
	}
	return n, nil
}

// connectToLook makes ready for one look at the node, which writes nothing: it has said who it is, and what
// people hold is known.
func connectToLook(ctx context.Context, cmd *command, con *console.Console) (*session.Session, error) {
	n, err := connect(ctx, cmd, con, false)
	if err != nil {
		return nil, err
	}
	if err := n.Find(ctx); err != nil {
		n.Close()
		return nil, n.Explain(err)
	}
	if err := n.Read(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// override lets the command line have its way over the configuration.
func override(c *config.Config, cmd *command) {
	c.State = cmp.Or(cmd.state, c.State)
	c.Interval = cmp.Or(cmd.interval, c.Interval)
	c.Timeout = cmp.Or(cmd.timeout, c.Timeout)
	c.LogFormat = cmp.Or(cmd.logFormat, c.LogFormat)
	if cmd.logLevel != nil {
		c.LogLevel = *cmd.logLevel
	}
}

// connectSimulated takes a node in memory, loaded from a file if one is named. Its client has no way to the
// network: whatever the configuration says, no real node is contacted.
func connectSimulated(ctx context.Context, n *session.Session, cmd *command, con *console.Console, write bool) error {
	n.State = cmd.state
	if cmd.world == "" {
		n.World = &simulated.World{Sim: simulated.FreshWorld()}
	} else {
		var err error
		if n.World, err = simulated.OpenWorld(ctx, con, cmd.world, write, cmd.mode.name == "watch", n.Config.Timeout); err != nil {
			return err
		}
		n.Closers = append(n.Closers, n.World.Close)
		n.State = cmp.Or(n.State, cmd.world+".state")
	}
	sim := n.World.Sim
	var err error
	if n.Config.Token, err = proxmox.NewToken(sim.TokenID(), sim.TokenSecret()); err != nil {
		return fmt.Errorf("the simulated node has no token for the agent: %w", err)
	}
	if n.Client, err = proxmox.New(proxmox.Options{Token: n.Config.Token, Transport: sim, UserAgent: "felhom-agent/" + version.Version}); err != nil {
		return err
	}
	if want, err := cmd.load(); err == nil && len(want.Tests) > 0 {
		if err := allowTests(n, sim); err != nil {
			return err
		}
	}
	n.Source.Node = sim.Node()
	n.Source.Owner = cmp.Or(n.Config.Owner, n.Source.Node)
	n.Wait = proxmox.WaitOptions{Interval: 50 * time.Millisecond, Factor: 1.2, Cap: 200 * time.Millisecond}
	n.Runner = &privileged.Local{Host: sim.Host(n.Source.Node)}
	if write && n.World.File != nil {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		exit.Go(func() {
			defer close(done)
			n.World.Keep(ctx, func(err error) { n.Log.Error("not saved", zap.Error(err)) })
		})
		n.Closers = append(n.Closers, func() error { stop(); <-done; return nil })
	}
	return n.OpenState(write)
}

// connectReal makes a client for the configured node.
func connectReal(n *session.Session, con *console.Console, write bool) error {
	c := n.Config
	if c.Incomplete != nil {
		return c.Incomplete
	}
	if c.Warning != "" {
		con.Say("%s", c.Warning)
	}
	var err error
	o := proxmox.Options{URL: c.Url, Token: c.Token, Fingerprint: c.Fingerprint, CAFile: c.Ca, UserAgent: "felhom-agent/" + version.Version}
	if n.Client, err = proxmox.New(o); err != nil {
		return &config.Error{Place: c.Places[cmp.Or(session.KeyOf(err, c), "url")], Key: "", Text: err.Error()}
	}
	n.Closers = append(n.Closers, func() error { n.Client.Close(); return nil })
	if err := n.ConnectTests(o); err != nil {
		return &config.Error{Place: c.Places["tests_token_id"], Text: err.Error()}
	}
	if c.Token.IsRoot() {
		n.Log.Warn("the token belongs to root@pam, which gives it nothing that felhom@pve's cannot have: keyctl, bind mounts and devices stay forbidden to every token")
	}
	n.Runner = c.Runner
	if n.Runner == nil {
		n.Source.FenceReason = fmt.Sprintf("runner: none (%s)", c.Places["runner"])
	}
	n.State = cmp.Or(c.State, session.FirstOf(os.Getenv("STATE_DIRECTORY")), config.DefaultState)
	if write {
		if err := session.BecomeOwner(n.State, c.RunnerMode); err != nil {
			return err
		}
	}
	return n.OpenState(write)
}
