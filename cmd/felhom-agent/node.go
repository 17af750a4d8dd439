package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// A node is what a mode works on: one node of Proxmox VE, real or simulated, and where we keep our things.
type node struct {
	sight   reconcile.Sight
	client  *proxmox.Client
	runner  privileged.Runner // nil: none
	journal *reconcile.Journal
	store   *reconcile.Store
	state   string // the state directory; "": none
	config  *config
	log     *zap.Logger
	wait    proxmox.WaitOptions
	world   *worldFile // nil: it is real
	close   []func() error
}

// connect makes ready what the command line and the configuration name. It does not contact the node yet.
// Without write nothing is written, neither by us nor by the simulated node's file.
func connect(ctx context.Context, cmd *command, con *console, write bool) (*node, error) {
	c, err := readConfig(cmd.config, os.Environ(), cmd.simulate)
	if err != nil {
		return nil, err
	}
	c.override(cmd)
	n := &node{config: c, log: con.logger(c.logLevel, c.logFormat)}
	if cmd.simulate {
		err = n.simulated(ctx, cmd, con, write)
	} else {
		err = n.real(con, write)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	n.sight.TokenID, n.sight.Drift, n.sight.MaxDeletions = c.token.ID(), c.drift, c.maxDestructive
	n.sight.NotifyPVE = c.notify.pve
	n.sight.View, n.sight.Fence = n.client.Look(), nil
	if n.runner != nil {
		n.sight.Fence = n.runner
	}
	return n, nil
}

// connectToLook makes ready for one look at the node, which writes nothing: it has said who it is, and what
// people hold is known.
func connectToLook(ctx context.Context, cmd *command, con *console) (*node, error) {
	n, err := connect(ctx, cmd, con, false)
	if err != nil {
		return nil, err
	}
	if err := n.find(ctx); err != nil {
		n.Close()
		return nil, n.explain(err)
	}
	if err := n.look(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// override lets the command line have its way over the configuration.
func (c *config) override(cmd *command) {
	c.state = cmp.Or(cmd.state, c.state)
	c.interval = cmp.Or(cmd.interval, c.interval)
	c.timeout = cmp.Or(cmd.timeout, c.timeout)
	c.logFormat = cmp.Or(cmd.logFormat, c.logFormat)
	if cmd.logLevel != nil {
		c.logLevel = *cmd.logLevel
	}
}

// simulated takes a node in memory, loaded from a file if one is named. Its client has no way to the
// network: whatever the configuration says, no real node is contacted.
func (n *node) simulated(ctx context.Context, cmd *command, con *console, write bool) error {
	n.state = cmd.state
	if cmd.world == "" {
		n.world = &worldFile{sim: freshWorld()}
	} else {
		var err error
		if n.world, err = openWorld(ctx, con, cmd.world, write, cmd.mode.name == "watch", n.config.timeout); err != nil {
			return err
		}
		n.close = append(n.close, n.world.Close)
		n.state = cmp.Or(n.state, cmd.world+".state")
	}
	sim := n.world.sim
	var err error
	if n.config.token, err = proxmox.NewToken(sim.TokenID(), sim.TokenSecret()); err != nil {
		return fmt.Errorf("the simulated node has no token for us: %w", err)
	}
	if n.client, err = proxmox.New(proxmox.Options{Token: n.config.token, Transport: sim, UserAgent: "felhom-agent/" + version}); err != nil {
		return err
	}
	n.sight.Node = sim.Node()
	n.sight.Owner = cmp.Or(n.config.owner, n.sight.Node)
	n.wait = proxmox.WaitOptions{Interval: 50 * time.Millisecond, Factor: 1.2, Cap: 200 * time.Millisecond}
	n.runner = &privileged.Local{Host: sim.Host(n.sight.Node)}
	if write && n.world.file != nil {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		spawn(func() {
			defer close(done)
			n.world.keep(ctx, func(err error) { n.log.Error("not saved", zap.Error(err)) })
		})
		n.close = append(n.close, func() error { stop(); <-done; return nil })
	}
	return n.openState(write)
}

// real makes a client for the configured node.
func (n *node) real(con *console, write bool) error {
	c := n.config
	if c.incomplete != nil {
		return c.incomplete
	}
	if c.warning != "" {
		con.say("%s", c.warning)
	}
	var err error
	if n.client, err = proxmox.New(proxmox.Options{URL: c.url, Token: c.token, Fingerprint: c.fingerprint, CAFile: c.ca, UserAgent: "felhom-agent/" + version}); err != nil {
		return &configError{c.places[cmp.Or(keyOf(err, c), "url")], "", err.Error()}
	}
	n.close = append(n.close, func() error { n.client.Close(); return nil })
	if c.token.IsRoot() {
		n.log.Warn("the token belongs to root@pam, which gives it nothing that felhom@pve's cannot have: keyctl, bind mounts and devices stay forbidden to every token")
	}
	n.runner = c.runner
	if n.runner == nil {
		n.sight.FenceReason = fmt.Sprintf("runner: none (%s)", c.places["runner"])
	}
	n.state = cmp.Or(c.state, firstOf(os.Getenv("STATE_DIRECTORY")), defaultState)
	if write {
		if err := becomeOwner(n.state, c.runnerMode); err != nil {
			return err
		}
	}
	return n.openState(write)
}

// keyOf guesses which key a client did not accept.
func keyOf(err error, c *config) string {
	for key, word := range map[string]string{"fingerprint": "fingerprint", "ca": "CA"} {
		if c.places[key] != "" && strings.Contains(err.Error(), word) {
			return key
		}
	}
	return ""
}

// firstOf is the first of systemd's directories, which are separated by colons.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ":")
	return first
}

// openState opens the journal, and names what people have held. Without write a missing one is an empty one.
func (n *node) openState(write bool) error {
	n.journal, n.store = reconcile.MemoryJournal(), reconcile.MemoryStore()
	if n.state == "" {
		return nil
	}
	n.store = reconcile.OpenStore(n.state)
	if !write {
		var err error
		n.journal, err = reconcile.ReadJournal(n.state)
		return err
	}
	if err := os.MkdirAll(n.state, 0o750); err != nil {
		return fmt.Errorf("the state directory cannot be made: %w; nothing is done without a journal (--state DIR names another)", err)
	}
	journal, err := reconcile.OpenJournal(n.state)
	if err != nil {
		return err
	}
	n.journal = journal
	if damage := journal.Damage(); damage != "" {
		n.log.Warn(damage, zap.String("directory", n.state))
	}
	n.close = append(n.close, journal.Close)
	return nil
}

// becomeOwner makes root the user to whom the state directory belongs, so that the service can read later
// what we write now.
func becomeOwner(dir, runner string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil // it is made, by us
	}
	owner := info.Sys().(*syscall.Stat_t)
	switch {
	case owner.Uid == 0:
		return nil
	case runner == "direct":
		return &configError{dir, "", fmt.Sprintf("it belongs to user %d, while runner: direct needs root: say runner: sudo or socket, or --state with a directory of root's", owner.Uid)}
	}
	groups := []int{int(owner.Gid)}
	if account, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		ids, _ := account.GroupIds()
		for _, id := range ids {
			if gid, err := strconv.Atoi(id); err == nil {
				groups = append(groups, gid)
			}
		}
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(int(owner.Gid)), syscall.Setuid(int(owner.Uid))); err != nil {
		return fmt.Errorf("%s belongs to user %d, whom we could not become: %w; run as that user", dir, owner.Uid, err)
	}
	return nil
}

// look makes ready for one look: a fresh view, and what people hold now.
func (n *node) look() (err error) {
	n.sight.View = n.client.Look()
	n.sight.Stored, err = n.store.Load()
	return err
}

// find asks the node who it is: the configured node, else the one that has this machine's name, else the
// only one.
func (n *node) find(ctx context.Context) error {
	nodes, err := n.client.Nodes(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, node := range nodes {
		names = append(names, node.Name)
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	c := n.config
	switch {
	case n.world != nil:
		return nil
	case c.node != "" && !slices.Contains(names, c.node):
		return &configError{c.places["node"], "node", fmt.Sprintf("there is no node %s; there is %s", c.node, strings.Join(names, ", "))}
	case c.node != "":
		n.sight.Node = c.node
	case slices.Contains(names, host):
		n.sight.Node = host
	case len(names) == 1:
		n.sight.Node = names[0]
	default:
		return &configError{"", "node", fmt.Sprintf("which one is meant? Set it to one of %s in the configuration, or %sNODE", strings.Join(names, ", "), envPrefix)}
	}
	if n.sight.Owner = c.owner; c.owner == "" {
		if len(names) > 1 {
			return &configError{"", "owner", fmt.Sprintf("in a cluster it must be said whose guests are ours: `owner: %s` in the configuration, and never change it", n.sight.Node)}
		}
		n.sight.Owner = n.sight.Node
	}
	return nil
}

// Close lets go of everything, in the opposite order.
func (n *node) Close() error {
	var errs []error
	for _, f := range slices.Backward(n.close) {
		errs = append(errs, f())
	}
	n.close = nil
	return errors.Join(errs...)
}

// explain turns an error of the node into what a person can do about it.
func (n *node) explain(err error) error {
	var certificate *proxmox.CertificateError
	var api *proxmox.APIError
	c := n.config
	switch {
	case err == nil:
		return nil
	case errors.As(err, &certificate) && certificate.Pinned == "":
		return fmt.Errorf("%s shows a certificate that nobody known here vouches for (%v). Its fingerprint is %s: where `pvenode cert info` on the node says the same, write into %s: fingerprint: %s",
			certificate.Host, certificate.Err, certificate.Seen, c.file, certificate.Seen)
	case errors.As(err, &certificate):
		return fmt.Errorf("%s shows another certificate: %s, pinned is %s. If you renewed it: fingerprint: %s in %s. If you did not: do not continue",
			certificate.Host, certificate.Seen, certificate.Pinned, certificate.Seen, c.places["fingerprint"])
	case proxmox.IsUnauthorized(err):
		return fmt.Errorf("PVE does not accept the token %s (wrong, disabled or expired: PVE does not say which). Look: pveum user token list %s. Nothing was changed", c.token.ID(), c.token.User())
	case proxmox.IsDenied(err):
		return fmt.Errorf("%w. What the token lacks in all, with the lines that give it: felhom-agent --selftest", err)
	case errors.As(err, &api) && (api.Status == 595 || api.Status == 596): // pveproxy's own: it answers, what is behind it does not
		return fmt.Errorf("%w. PVE's proxy answers, its daemon or the node behind it does not. Look there: systemctl status pvedaemon pve-cluster", err)
	case proxmox.IsNotDelivered(err) && c.places["url"] != "":
		err = fmt.Errorf("%w (url: %s in %s)", err, c.url, c.places["url"])
	}
	return filtered(err, c.url)
}

// greetFence asks the fence something harmless, to see whether it is there and lets us in.
func (n *node) greetFence(ctx context.Context) error {
	_, err := privileged.Running(ctx, n.runner, n.sight.Node)
	return err
}
