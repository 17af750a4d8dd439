// Package eject makes the disk of a declared mount safe to remove: it waits for what uses the disk, unmounts it through the root helper, and keeps it
// from being mounted again before it was disconnected. It plans nothing and changes no guest.
package eject

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// An InUseError says who uses a disk that was to be ejected. Nothing was changed.
type InUseError struct {
	Mount string   // "mounts/backup"
	Users []string // "112 (jellyfin)", or a task
	Fix   string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use by %s. %s", e.Mount, text.List(e.Users), e.Fix)
}

// ErrStillBusy is the error of an eject that has waited long enough.
var ErrStillBusy = errors.New("gave up waiting")

// Disk makes the disk of a declared mount safe to unplug and says so in words. What
// writes to it is waited for, up to patience (0: without end), and told through say.
// From the first moment on nothing new is begun on it, by no agent that shares the
// state directory; and once it is unmounted it is not mounted again before it was
// unplugged. Errors: *InUseError names running guests that have it; ErrStillBusy.
func Disk(ctx context.Context, a *applying.Agent, m *spec.Mount, by string, patience time.Duration, say func(string)) (string, error) {
	if a.O.Runner == nil {
		return "", fmt.Errorf("%s can be ejected only on %s itself: %s", m.Ref, a.O.Node, text.OrElse(a.O.FenceReason, "there is no root helper"))
	}
	disk, where, err := ejectable(ctx, a, m)
	if err != nil {
		return "", err
	}
	if where == nil && disk == nil {
		return fmt.Sprintf("%s: %s. There is nothing to eject.", m.Ref, planning.NotConnected(m)), nil
	}
	users, err := bindUsers(ctx, a, m)
	if err != nil {
		return "", err
	}
	if len(users) > 0 {
		return "", &InUseError{m.Ref.String(), users, "Stop them first: " + stopLines(users)}
	}
	hold := state.Hold{Name: m.Ref.String(), Kind: state.HoldEjected, By: by, UUID: disk.UUID, Device: disk.Device, Since: a.Clock().Truncate(time.Second)}
	if where == nil {
		if err := a.O.Store.AddHold(hold); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s (%s) is not mounted and is safe to remove; reconnect it to mount it again.", questions.Name(named(m, disk)), disk.Device), nil
	}
	notes, err := letGo(ctx, a, m, disk, hold, patience, say)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s (%s) is safe to remove: it is written out, unmounted, and nothing has it open. Reconnect it to mount it again.", questions.Name(named(m, disk)), disk.Device)
	if len(m.UUIDs) > 1 {
		text += " Another disk of " + m.Ref.String() + " is mounted as soon as it is there."
	}
	if len(notes) > 0 {
		text += " " + strings.Join(notes, "; ")
	}
	return text, nil
}

// letGo waits until nothing uses the disk, and unmounts it. The hold stays only where it was unmounted.
func letGo(ctx context.Context, a *applying.Agent, m *spec.Mount, disk *privileged.Disk, hold state.Hold, patience time.Duration, say func(string)) (notes []string, err error) {
	// A wait that is killed must not leave the disk held for ever.
	waiting := hold
	waiting.Until = hold.Since.Add(24 * time.Hour)
	if err := a.O.Store.AddHold(waiting); err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done {
			a.O.Store.Change(func(stored *state.Stored) {
				stored.Holds = slices.DeleteFunc(stored.Holds, func(h state.Hold) bool { return h.Kind == state.HoldEjected && h.UUID == hold.UUID })
			})
		}
	}()
	release, err := awaitWriters(ctx, a, m, patience, say)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := a.O.Store.AddHold(hold); err != nil {
		return nil, err
	}
	notes, err = unmount(ctx, a, m, disk)
	if err != nil {
		var refused *privileged.RefusedError
		if errors.As(err, &refused) && refused.Arg == "path" {
			return nil, &InUseError{m.Ref.String(), []string{refused.Reason}, text.OrElse(refused.Fix, "Stop them first") + "."}
		}
		return nil, fmt.Errorf("%s is NOT safe to remove: %w", questions.Name(named(m, disk)), err)
	}
	done = true
	return notes, nil
}

// named is the declared disk of a plugged one.
func named(m *spec.Mount, disk *privileged.Disk) spec.Disk {
	for _, d := range m.UUIDs {
		if strings.EqualFold(d.UUID, disk.UUID) {
			return d
		}
	}
	return spec.Disk{UUID: disk.UUID, Label: disk.Label}
}

// ejectable finds the declared disk that is mounted at the mount's path, else one that
// is only plugged in (and then where is nil).
func ejectable(ctx context.Context, a *applying.Agent, m *spec.Mount) (disk *privileged.Disk, where *privileged.Mount, err error) {
	mounts, err := privileged.Mounts(ctx, a.O.Runner, a.O.Node)
	if err != nil {
		return nil, nil, err
	}
	disks, err := privileged.Disks(ctx, a.O.Runner, a.O.Node)
	if err != nil {
		return nil, nil, err
	}
	declared := func(uuid string) bool {
		return slices.ContainsFunc(m.UUIDs, func(d spec.Disk) bool { return strings.EqualFold(d.UUID, uuid) })
	}
	for i, at := range mounts {
		if at.Path != m.Path || !at.Mounted || at.Gone {
			continue
		}
		if at.Silent {
			return nil, nil, fmt.Errorf("%s, which is mounted at %s, does not answer: it or its cable may be failing (dmesg). It is still mounted", at.Source, m.Path)
		}
		if !declared(at.UUID) {
			return nil, nil, fmt.Errorf("%s shows UUID %s (label %q), which is not declared, so it is not changed. Unmount it yourself: umount %s", m.Path, at.UUID, at.Label, m.Path)
		}
		return &privileged.Disk{Device: at.Source, UUID: at.UUID, Label: at.Label}, &mounts[i], nil
	}
	for i, d := range disks {
		if declared(d.UUID) {
			return &disks[i], nil, nil
		}
	}
	if silent := privileged.Unreadable(disks); silent != "" {
		return nil, nil, fmt.Errorf("%s: %s%s", m.Ref, planning.NotConnected(m), silent)
	}
	return nil, nil, nil
}

// bindUsers names the running guests that bind a folder of the mount, declared or not.
func bindUsers(ctx context.Context, a *applying.Agent, m *spec.Mount) ([]string, error) {
	view := a.O.Client.Read()
	guests, err := view.ListLXC(ctx, a.O.Node)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, g := range guests {
		if !g.Running() {
			continue
		}
		config, err := view.GuestConfig(ctx, a.O.Node, g.VMID)
		if err != nil {
			return nil, err
		}
		for _, mp := range config.MountPoints() {
			if mp.Kind() == proxmox.BindMount && node.Within(m.Path, path.Clean(mp.Volume())) {
				users = append(users, fmt.Sprintf("%d (%s)", g.VMID, g.Name))
				break
			}
		}
	}
	return users, nil
}

func stopLines(users []string) string {
	var lines []string
	for _, user := range users {
		vmid, _, _ := strings.Cut(user, " ")
		lines = append(lines, "pct shutdown "+vmid)
	}
	return strings.Join(lines, "; ")
}

// awaitWriters waits until nothing writes to the disk or reads from it, and returns with
// the write lock: nothing is begun before it is released.
func awaitWriters(ctx context.Context, a *applying.Agent, m *spec.Mount, patience time.Duration, say func(string)) (release func(), err error) {
	begin, told := time.Now(), ""
	for {
		if release, err = a.O.Lock.Take(ctx); err != nil {
			return nil, err
		}
		busy, err := writers(ctx, a, m)
		if err == nil && len(busy) == 0 {
			return release, nil
		}
		if release(); err != nil {
			return nil, err
		}
		if text := text.List(busy); text != told {
			told = text
			say(fmt.Sprintf("%s: waiting for %s", m.Ref, text))
		}
		if patience > 0 && time.Since(begin) > patience {
			return nil, fmt.Errorf("%w: %s is still in use by %s. Nothing was changed", ErrStillBusy, m.Ref, text.List(busy))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(max(a.O.Wait.Interval, 10*time.Millisecond)):
		}
	}
}

// writers names the tasks that use the disk. Of our own operations the journal knows the
// storage; a backup or restore of somebody else may use any.
func writers(ctx context.Context, a *applying.Agent, m *spec.Mount) ([]string, error) {
	view := a.O.Client.Read()
	storages, err := view.ListStorage(ctx)
	if err != nil {
		return nil, err
	}
	on := map[string]bool{m.Storage: m.Storage != ""}
	for _, s := range storages {
		if s.Path != "" && node.Within(m.Path, s.Path) {
			on[s.ID] = true
		}
	}
	if err := a.ReadJournal(); err != nil {
		return nil, err
	}
	elsewhere := map[string]bool{}
	var busy []string
	for _, operation := range a.O.Journal.Open() {
		used := []string{operation.Facts["storage"], text.ProxmoxStorage(operation.Facts["reads"])}
		if !slices.ContainsFunc(used, func(s string) bool { return on[s] }) {
			elsewhere[operation.Upid.String()] = used[0] != "" || used[1] != ""
		}
	}
	tasks, _, err := view.Tasks(ctx, a.O.Node, proxmox.TaskFilter{Source: "active"})
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if !t.Running() || !t.UPID.IsZero() && elsewhere[t.UPID.String()] {
			continue
		}
		switch t.Type {
		case "vzdump", "vzrestore", "vzcreate", "qmrestore", "imgcopy", "imgdel", "download", "move_volume":
			busy = append(busy, strings.TrimSpace(fmt.Sprintf("%s %s by %s since %s", t.Type, t.ID, t.Owner(), t.StartTime.In(a.Clock().Location()).Format("15:04"))))
		}
	}
	return busy, nil
}

// unmount syncs and unmounts the disk through the root helper, which proves by an exclusive
// open that nothing holds it any more; journalled as every operation.
func unmount(ctx context.Context, a *applying.Agent, m *spec.Mount, disk *privileged.Disk) (notes []string, err error) {
	op := privileged.UnmountUSB(a.O.Node, privileged.UnmountSpec{Name: m.Ref.Name, UUID: disk.UUID, Path: m.Path})
	e := journal.Entry{Time: a.Clock(), Action: journal.NewAct(), Step: journal.StepIntent, ID: m.Ref.String() + "/eject", Object: m.Ref.String(), Verb: "eject",
		Text: fmt.Sprintf("unmount %s (%s) for removal", questions.Name(named(m, disk)), disk.Device), Queue: "mount/" + m.Ref.Name, Effect: plan.Disruptive, Timeout: questions.ShortTask, Op: &op}
	if err := a.O.Journal.Append(e); err != nil {
		return nil, err
	}
	// Begun, it is finished: a signal does not leave it unknown whether the disk is safe. One that hangs is left to itself.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.Timeout)
	defer cancel()
	result, err := a.O.Runner.Do(ctx, op, func(string) {})
	outcome := journal.Entry{Time: a.Clock(), Action: e.Action, Step: journal.StepOutcome, Result: journal.ResultOK, Text: strings.Join(result.Notes, "; ")}
	var refused *privileged.RefusedError
	switch {
	case err == nil && result.StillRunning != nil:
		return nil, fmt.Errorf("the unmounting goes on since %s; eject it again to hear how it ended", result.StillRunning.Format("15:04:05"))
	case errors.As(err, &refused):
		outcome.Result, outcome.Text = journal.ResultRefused, strings.TrimSpace(err.Error())
	case err != nil:
		outcome.Result, outcome.Text = journal.ResultFailed, strings.TrimSpace(err.Error())
	}
	return result.Notes, errors.Join(err, a.O.Journal.Append(outcome))
}
