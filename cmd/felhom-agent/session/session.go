package session

import (
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

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// Clock is the node's, as far as it is known.
func (n *Session) Clock() time.Time {
	if now := n.Client.Clock(); !now.IsZero() {
		return now
	}
	return time.Now()
}

// A Session is what a mode works on: one node of Proxmox VE, real or simulated, and where we keep our things.
type Session struct {
	Source reconcile.Source
	Client *proxmox.Client
	// TestGuests is what restore tests are sent with; nil: there is no token of theirs.
	TestGuests *proxmox.TestGuests
	Runner     privileged.Runner // nil: none
	Journal    *reconcile.Journal
	Store      *reconcile.Store
	State      string // the state directory; "": none
	Config     *config.Config
	Log        *zap.Logger
	Wait       proxmox.WaitOptions
	World      *simulated.World // nil: it is real
	Closers    []func() error
}

// KeyOf guesses which key a client did not accept.
func KeyOf(err error, c *config.Config) string {
	for key, word := range map[string]string{"fingerprint": "fingerprint", "ca": "CA"} {
		if c.Places[key] != "" && strings.Contains(err.Error(), word) {
			return key
		}
	}
	return ""
}

// FirstOf is the first of systemd's directories, which are separated by colons.
func FirstOf(list string) string {
	first, _, _ := strings.Cut(list, ":")
	return first
}

// OpenState opens the journal, and names what people have held. Without write a missing one is an empty one.
func (n *Session) OpenState(write bool) error {
	n.Journal, n.Store = reconcile.MemoryJournal(), reconcile.MemoryStore()
	if n.State == "" {
		return nil
	}
	n.Store = reconcile.OpenStore(n.State)
	if !write {
		var err error
		n.Journal, err = reconcile.ReadJournal(n.State)
		return err
	}
	if err := os.MkdirAll(n.State, 0o750); err != nil {
		return fmt.Errorf("the state directory cannot be made: %w; nothing is done without a journal (--state DIR names another)", err)
	}
	journal, err := reconcile.OpenJournal(n.State)
	if err != nil {
		return err
	}
	n.Journal = journal
	if damage := journal.Damage(); damage != "" {
		n.Log.Warn(damage, zap.String("directory", n.State))
	}
	n.Closers = append(n.Closers, journal.Close)
	return nil
}

// BecomeOwner makes root the user to whom the state directory belongs, so that the service can read later
// what we write now.
func BecomeOwner(dir, runner string) error {
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
		return &config.Error{Place: dir, Key: "", Text: fmt.Sprintf("it belongs to user %d, while runner: direct needs root: say runner: sudo or socket, or --state with a directory of root's", owner.Uid)}
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
		return fmt.Errorf("%s belongs to user %d, and switching to that user failed: %w; run as that user", dir, owner.Uid, err)
	}
	return nil
}

// Look makes ready for one look: a fresh view, and what people hold now.
func (n *Session) Read() (err error) {
	n.Source.View = n.Client.Read()
	n.Source.Stored, err = n.Store.Load()
	return err
}

// Find asks the node who it is: the configured node, else the one that has this machine's name, else the
// only one.
func (n *Session) Find(ctx context.Context) error {
	nodes, err := n.Client.Nodes(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, node := range nodes {
		names = append(names, node.Name)
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	c := n.Config
	switch {
	case n.World != nil:
		return nil
	case c.Node != "" && !slices.Contains(names, c.Node):
		return &config.Error{Place: c.Places["node"], Key: "node", Text: fmt.Sprintf("no such node: %s; found: %s", c.Node, strings.Join(names, ", "))}
	case c.Node != "":
		n.Source.Node = c.Node
	case slices.Contains(names, host):
		n.Source.Node = host
	case len(names) == 1:
		n.Source.Node = names[0]
	default:
		return &config.Error{Place: "", Key: "node", Text: fmt.Sprintf("which one is meant? Set it to one of %s in the configuration, or %sNODE", strings.Join(names, ", "), config.EnvPrefix)}
	}
	if n.Source.Owner = c.Owner; c.Owner == "" {
		if len(names) > 1 {
			return &config.Error{Place: "", Key: "owner", Text: fmt.Sprintf("in a cluster the configuration must name the owner of the managed guests: `owner: %s`; never change it later", n.Source.Node)}
		}
		n.Source.Owner = n.Source.Node
	}
	return nil
}

// askedAgain is how often the node is asked again who it is, while something on it hangs or starts.
const askedAgain = 5

// FindPatiently is Find for a run that does not give up over what passes by itself: the node answers, and a
// daemon of it does not. Where nothing answers at all, that is said at once.
func (n *Session) FindPatiently(ctx context.Context) error {
	for tries := 1; ; tries++ {
		err := n.Find(ctx)
		var transport *proxmox.TransportError
		if tries > askedAgain || !proxmox.IsTransient(err) || errors.As(err, &transport) && !transport.Sent {
			return err
		}
		n.Log.Warn("the node does not answer; asking again", zap.Error(err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(tries) * 2 * time.Second):
		}
	}
}

// Close lets go of everything, in the opposite order.
func (n *Session) Close() error {
	var errs []error
	for _, f := range slices.Backward(n.Closers) {
		errs = append(errs, f())
	}
	n.Closers = nil
	return errors.Join(errs...)
}

// Explain turns an error of the node into what a person can do about it.
func (n *Session) Explain(err error) error {
	var certificate *proxmox.CertificateError
	var api *proxmox.APIError
	c := n.Config
	switch {
	case err == nil:
		return nil
	case errors.As(err, &certificate) && certificate.Pinned == "":
		return fmt.Errorf("the certificate of %s is not trusted (%v). Its fingerprint is %s: if `pvenode cert info` on the node prints the same, write into %s: fingerprint: %s",
			certificate.Host, certificate.Err, certificate.Seen, c.File, certificate.Seen)
	case errors.As(err, &certificate):
		return fmt.Errorf("%s shows another certificate: %s, pinned is %s. If you renewed it: fingerprint: %s in %s. If you did not: do not continue",
			certificate.Host, certificate.Seen, certificate.Pinned, certificate.Seen, c.Places["fingerprint"])
	case proxmox.IsUnauthorized(err):
		return fmt.Errorf("PVE does not accept the token %s (wrong, disabled or expired: PVE does not say which). Look: pveum user token list %s. Nothing was changed", c.Token.ID(), c.Token.User())
	case proxmox.IsDenied(err):
		return fmt.Errorf("%w. What the token lacks in all, with the lines that give it: felhom-agent --selftest", err)
	case errors.As(err, &api) && (api.Status == 595 || api.Status == 596): // pveproxy's own: it answers, what is behind it does not
		return fmt.Errorf("%w. PVE's proxy answers, its daemon or the node behind it does not. Look there: systemctl status pvedaemon pve-cluster", err)
	case proxmox.IsNotDelivered(err) && c.Places["url"] != "":
		err = fmt.Errorf("%w (url: %s in %s)", err, c.Url, c.Places["url"])
	}
	return systemd.Filtered(err, c.Url)
}

// GreetFence asks the fence something harmless, to see whether it is there and lets us in.
func (n *Session) GreetFence(ctx context.Context) error {
	_, err := privileged.Running(ctx, n.Runner, n.Source.Node)
	return err
}
