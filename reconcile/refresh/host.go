package refresh

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// smartAge is how long a disk's health is believed: asking wakes it up.
const smartAge = time.Hour

// readHost asks the root helper for mounts, disks and running operations. One that cannot
// be reached holds what needs the host and nothing else.
func (l *Reader) readHost(ctx context.Context) error {
	if l.ask == nil {
		return nil
	}
	if l.host != nil && !(l.host.carried && concernsMounts(l.part)) {
		l.Have.Host, l.Have.HostReason = l.host.state, l.host.reason
		return nil
	}
	host := &node.HostState{Folders: map[string]bool{}, Barred: map[string]string{}}
	var err error
	carried := false
	if host.Running, err = privileged.Running(ctx, l.ask, l.node); err == nil && l.needsHost() {
		if host.Mounts, err = privileged.Mounts(ctx, l.ask, l.node); err == nil {
			if carried = carriesDisks(l, host.Mounts); carried {
				host.Disks = l.Earlier.Last.Host.Disks
			} else {
				host.Disks, err = privileged.Disks(ctx, l.ask, l.node)
			}
		}
		for _, bind := range l.folders() {
			if err != nil {
				break
			}
			m := l.want.Mounts[bind[0]]
			if !slices.ContainsFunc(host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted && !have.Gone }) {
				continue // not mounted: what is below is the root disk
			}
			var folder privileged.Folder
			folder, err = privileged.FolderInfo(ctx, l.ask, l.node, m.Path, bind[1])
			if refused, ok := errors.AsType[*privileged.RefusedError](err); ok { // a matter of this folder alone
				host.Barred[bind[0]+"/"+bind[1]], err = refused.Reason, nil
			} else if err == nil {
				host.Folders[bind[0]+"/"+bind[1]] = folder.IsDir
			}
		}
	}
	if err == nil {
		host.Failing = l.readHealth(ctx, host)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		l.Have.HostReason = err.Error()
	} else {
		l.Have.Host = host
	}
	l.host = &hostRead{state: l.Have.Host, reason: l.Have.HostReason, guests: map[proxmox.VMID][]privileged.GuestMount{}, carried: carried}
	return nil
}

// carriesDisks reports whether the disks are those of the earlier look: those of a part without mounts, as long as the same is mounted.
func carriesDisks(l *Reader, mounts []privileged.Mount) bool {
	return l.part != nil && !concernsMounts(l.part) && l.Earlier.Last.Host != nil && reflect.DeepEqual(mounts, l.Earlier.Last.Host.Mounts)
}

// concernsMounts reports whether mounts are in a part.
func concernsMounts(part map[spec.Ref]bool) bool {
	for ref := range part {
		if ref.Kind == spec.KindMount {
			return true
		}
	}
	return false
}

// A hostRead is what the root helper has said, once for one look.
type hostRead struct {
	state  *node.HostState
	reason string
	guests map[proxmox.VMID][]privileged.GuestMount
	// carried tells that the disks are those of the earlier look.
	carried bool
}

// readHealth asks the declared disks that are plugged in how they are. A disk that
// does not tell, as many behind USB bridges, is not failing. PVE's API has this too
// (GET /nodes/N/disks/smart), but not which disk bears a UUID: where the root helper tells
// that, it tells the rest without a request to PVE, of which a look has few, knows USB
// bridges, and lets a disk sleep.
func (l *Reader) readHealth(ctx context.Context, host *node.HostState) map[string]string {
	if l.facts != nil && time.Since(l.facts.smartAt) < smartAge {
		return l.facts.failing
	}
	failing := map[string]string{}
	for _, m := range l.want.Mounts {
		for _, declared := range m.UUIDs {
			for _, disk := range host.Disks {
				if !strings.EqualFold(disk.UUID, declared.UUID) {
					continue
				}
				report, err := privileged.SMART(ctx, l.ask, l.node, text.OrElse(disk.Parent, disk.Device))
				if err == nil && report.Health == privileged.HealthFailing {
					failing[strings.ToLower(disk.UUID)] = fmt.Sprintf("%s (%s)", text.OrElse(disk.Parent, disk.Device), text.OrElse(report.Model, "model unknown"))
				}
			}
		}
	}
	if l.facts != nil {
		l.facts.failing, l.facts.smartAt = failing, time.Now()
	}
	return failing
}

// needsHost reports whether anything declared has to do with mounts.
func (l *Reader) needsHost() bool { return len(l.want.Mounts) > 0 }

// folders lists the mount and folder of every declared bind of a declared disk.
func (l *Reader) folders() [][2]string {
	var all [][2]string
	for _, g := range l.want.AllGuests() {
		for _, i := range text.Keys(g.Config.Mounts) {
			if m := g.Config.Mounts[i]; m.Mount != "" && l.Have.HasMount(l.want.Mounts[m.Mount]) {
				all = append(all, [2]string{m.Mount, m.Folder})
			}
		}
	}
	return all
}

// readInGuests asks the root helper for the mount tables of running guests that bind a
// folder of a declared disk: whether they still have the disk that is mounted now. And whether
// guarded guests may be probed.
func (l *Reader) readInGuests(ctx context.Context) error {
	if l.Have.Host == nil {
		return nil
	}
	for _, g := range inScope(l) {
		state := l.Have.Guests[g.VMID]
		if state == nil {
			continue
		}
		if g.Guard != nil {
			if refused, ok := errors.AsType[*privileged.RefusedError](privileged.MayProbe(ctx, l.ask, l.node, int(g.VMID))); ok && refused.Arg == "vmid" {
				state.Closed = refused
			}
		}
		if state.Status != "running" {
			continue
		}
		if !state.Type.VM() && node.LowersMemory(g.Config, state.Config) {
			if memory, err := privileged.MemoryOf(ctx, l.ask, l.node, int(g.VMID)); err == nil { // else the plan does without
				state.Memory = &memory
			}
		}
		for _, mp := range g.Config.Mounts {
			if mp.Mount == "" {
				continue
			}
			mounts, known := l.host.guests[g.VMID]
			if !known {
				mounts, _ = privileged.GuestMounts(ctx, l.ask, l.node, int(g.VMID)) // a guest that stops at this moment has none: the next look knows
				l.host.guests[g.VMID] = mounts
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			state.Mounts = mounts
			break
		}
	}
	return nil
}
