package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/spec"
)

// Course is one run of a recovery.
type Course struct {
	Host     Host
	Out      io.Writer
	From     string // a folder or the UUID of a disk; "": every connected disk
	Preview  bool   // show the steps only
	Rehearse bool   // with Preview: carry the steps out all the same, since the host is a simulated one that nobody keeps
	Onto     bool   // the host may have guests of others
	TakeOver string // the owner of a kit of another node

	Confirm func(question string) (bool, error) // false: the answer was no
	Secrets Secrets

	kit found // which is used
}

// The exit codes of a course, as of every mode.
const (
	ok      = 0
	failed  = 1
	changes = 2
	blocked = 3
	invalid = 4
)

// ErrDeclined says that a question was answered with no.
var ErrDeclined = errors.New("stopped at your answer; nothing further was changed. Run it again to go on")

// Run finds a kit, shows what is missing on the host, carries it out step by step, and brings the guests back. It can be run again at any time.
func (c *Course) Run(ctx context.Context) (exit int, err error) {
	k, err := c.choose(ctx)
	if err != nil {
		return failed, err
	}
	want, err := load(k)
	if err != nil {
		return failed, err
	}
	have, err := look(ctx, c.Host, templateStorages(k))
	if err != nil {
		return failed, err
	}
	if why := wrongHost(k, want, have, c.TakeOver, c.Onto); why != "" {
		return blocked, errors.New(why)
	}
	if err := c.Secrets.check(k); err != nil {
		return failed, err
	}
	steps := plan(k, want, have)
	c.show(steps)
	if c.Preview && !c.Rehearse {
		return changes, nil
	}
	if slices.ContainsFunc(steps, Step.Does) {
		if err := c.agree("Carry out these steps?"); err != nil {
			return failed, err
		}
	}
	left, err := c.carryOut(ctx, k, want)
	if err != nil {
		return failed, err
	}
	return c.bringBack(ctx, k, left)
}

// carryOut does what is missing, one step after the other, and looks again until nothing is: one step may need another, and the host says what is there.
func (c *Course) carryOut(ctx context.Context, k *kit.Kit, want *spec.Desired) (left []string, err error) {
	tried := map[string]bool{}
	for {
		have, err := look(ctx, c.Host, templateStorages(k))
		if err != nil {
			return left, err
		}
		steps := slices.DeleteFunc(plan(k, want, have), func(s Step) bool { return !s.Does() || tried[s.What+s.Text] })
		if len(steps) == 0 {
			return left, nil
		}
		for _, s := range steps {
			tried[s.What+s.Text] = true
			err := c.do(ctx, &s)
			if err != nil && c.isDone(ctx, k, want, s) {
				err = nil
			}
			switch {
			case err != nil && (!s.May || ctx.Err() != nil):
				return left, fmt.Errorf("%s: %w. Correct that and run it again", s.What, err)
			case err != nil:
				left = append(left, fmt.Sprintf("%s: %s: %v", s.What, s.Text, err))
				fmt.Fprintf(c.Out, "  [left] %-22s %v\n", s.What, err)
			default:
				fmt.Fprintf(c.Out, "  [ ok ] %-22s %s\n", s.What, s.Text)
			}
		}
	}
}

// isDone reports whether a step that failed is done all the same: a program that an earlier recovery has started may end after it was killed, and then
// the same one fails, since what it creates exists.
func (c *Course) isDone(ctx context.Context, k *kit.Kit, want *spec.Desired, s Step) bool {
	if s.Secret || ctx.Err() != nil { // a token without its secret is of no use
		return false
	}
	have, err := look(ctx, c.Host, templateStorages(k))
	return err == nil && !slices.ContainsFunc(plan(k, want, have), func(other Step) bool { return other.What == s.What && other.Text == s.Text })
}

// do carries one step out.
func (c *Course) do(ctx context.Context, s *Step) error {
	switch {
	case s.Root != nil:
		_, err := c.Host.Root().Do(ctx, *s.Root, nil)
		return err
	case s.Folder != nil:
		return c.Host.WriteFolder(desiredDir, s.Folder)
	case s.File != "":
		return c.Host.WriteFile(s.File, s.Content, 0o644)
	case s.Storage != nil:
		return c.logIn(ctx, s)
	}
	out, exit, err := c.Host.Run(ctx, s.Program, s.Args...)
	if err != nil {
		return err
	}
	if exit != 0 {
		err := fmt.Errorf("%s exited with %d: %s", s.Program, exit, lastLine(out))
		if s.Template != nil {
			return c.fromKit(ctx, s, err)
		}
		return err
	}
	if !s.Secret {
		return nil
	}
	var token struct{ Value string }
	if err := json.Unmarshal(out, &token); err != nil || token.Value == "" {
		return errors.New("pveum did not print the secret of the token as JSON") // what it printed may be the secret
	}
	quote.Secret(token.Value)
	return c.Host.WriteFile(tokenFile, []byte(token.Value+"\n"), 0o600)
}

// bringBack runs the agent on the host that is set up now.
func (c *Course) bringBack(ctx context.Context, k *kit.Kit, left []string) (exit int, err error) {
	fmt.Fprintln(c.Out)
	if exit, err := c.Host.Agent(ctx, "--selftest"); err != nil || exit != ok {
		return failed, errors.Join(errors.New("the selftest failed. Correct what it names and run --recover again"), err)
	}
	fmt.Fprintln(c.Out)
	exit, err = c.Host.Agent(ctx, "--plan", desiredDir)
	if err != nil || exit == failed || exit == invalid {
		return failed, errors.Join(errors.New("the plan failed. Correct what it names and run --recover again"), err)
	}
	if c.Preview {
		return changes, nil
	}
	if exit != ok {
		if err := c.agree("Bring the guests back?"); err != nil {
			return failed, err
		}
	}
	exit, err = c.Host.Agent(ctx, "--once", desiredDir)
	if err != nil {
		return failed, err
	}
	have, err := look(ctx, c.Host, templateStorages(k))
	if err != nil {
		return failed, err
	}
	if !have.Enabled[service] {
		if out, code, err := c.Host.Run(ctx, systemctl, "enable", "--now", service); err != nil || code != 0 {
			left = append(left, fmt.Sprintf("systemctl enable --now %s: %s", service, lastLine(out)))
		}
	}
	if whole := c.table(k, have, left); !whole && exit == ok {
		exit = blocked
	}
	return exit, nil
}

// agree asks, and is an error where the answer is no.
func (c *Course) agree(question string) error {
	yes, err := c.Confirm(question)
	if err == nil && !yes {
		err = ErrDeclined
	}
	return err
}

// choose shows the kits and takes the newest by its own time; one of this node before those of others.
func (c *Course) choose(ctx context.Context) (*kit.Kit, error) {
	kits, refused, err := find(ctx, c.Host, c.From)
	for _, why := range refused {
		fmt.Fprintf(c.Out, "  !  %s\n", quote.Line(why.Error()))
	}
	if err != nil {
		return nil, err
	}
	if len(kits) == 0 {
		return nil, errors.New("no recovery kit was found: connect the newest backup disk, or give the folder that has felhom-recovery in it")
	}
	node, err := c.Host.NodeName()
	if err != nil {
		return nil, err
	}
	chosen := slices.IndexFunc(kits, func(f found) bool { return f.kit.Node == node || f.kit.Owner == c.TakeOver })
	chosen = max(chosen, 0)
	shown := map[string]bool{}
	for i, f := range kits {
		if first := f.where + f.kit.Node; i != chosen && shown[first] {
			continue // an older one of the same disk
		} else {
			shown[first] = true
		}
		mark := " "
		if i == chosen {
			mark = "*"
		}
		fmt.Fprintf(c.Out, "%s %s\n", mark, describe(f))
	}
	fmt.Fprintln(c.Out)
	c.kit = kits[chosen]
	return c.kit.kit, nil
}

// describe is a kit in one line.
func describe(f found) string {
	newest, backups := time.Time{}, 0
	for _, g := range f.kit.Guests {
		if !g.Backup.IsZero() {
			backups++
		}
		if g.Backup.After(newest) {
			newest = g.Backup
		}
	}
	line := fmt.Sprintf("%s on %s: %d guests, %d with a backup", f.kit.Node, f.where, len(f.kit.Guests), backups)
	if !newest.IsZero() {
		line += ", the newest of " + newest.UTC().Format("2 Jan 2006 15:04 UTC")
	}
	return quote.Line(line + "; kit of " + f.kit.Time.UTC().Format("2 Jan 2006 15:04 UTC"))
}

// show prints the steps.
func (c *Course) show(steps []Step) {
	for _, s := range steps {
		mark := "+"
		if !s.Does() {
			mark = "."
		}
		quote.Fprintf(c.Out, "  %s %-24s %s\n", quote.Own(mark), s.What, s.Text)
	}
	if len(steps) == 0 {
		fmt.Fprintln(c.Out, "  the host is set up as the kit says")
	}
	fmt.Fprintln(c.Out)
}

func templateStorages(k *kit.Kit) []string {
	var ids []string
	for _, t := range k.Templates {
		if id, _, ok := strings.Cut(t.Volume, ":"); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
