package applying

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// calm is what was seen to change the world between two passes. What it makes necessary again
// is no fight: a disk that was disconnected has to be mounted once more, however often.
type calm struct {
	all     time.Time            // what was done before counts for nothing: the YAML was edited, the node has booted
	objects map[string]time.Time // the same, of one object
	last    map[string]string    // of each object, what stood behind it in the pass before
	counted map[string]int       // room in which fights counts
}

// note compares what stands behind each object, its disks and the holds on it, with the pass
// before.
func (c *calm) note(want *spec.Desired, have *node.Observed) {
	if boot := bootTime(have); boot.After(c.all) {
		c.all = boot
	}
	if have.Host == nil {
		return
	}
	behind := map[string]string{}
	for _, m := range want.Mounts {
		disks := ""
		for _, disk := range m.UUIDs {
			for _, d := range have.Host.Disks {
				if strings.EqualFold(d.UUID, disk.UUID) {
					disks += fmt.Sprintf("%s %s;", d.Device, d.UUID)
				}
			}
		}
		for _, object := range usersOf(m, want, have) {
			behind[object] += disks
		}
	}
	for _, h := range have.Stored.Holds {
		for _, ref := range want.Refs() {
			if ref.Name == h.Name || ref.String() == h.Name {
				behind[ref.String()] += fmt.Sprint(h.Kind, h.UUID, ";")
			}
		}
	}
	for object := range behind {
		if c.last != nil && c.last[object] != behind[object] {
			c.objects[object] = have.Now
		}
	}
	for object := range c.last {
		if _, still := behind[object]; !still {
			c.objects[object] = have.Now
		}
	}
	c.last = behind
}

// usersOf are the objects that rest on the disk of a mount: itself, guests with a bind of it,
// and all that keeps archives on it.
func usersOf(m *spec.Mount, want *spec.Desired, have *node.Observed) []string {
	users := []string{m.Ref.String()}
	for _, g := range want.AllGuests() {
		for _, mp := range g.Config.Mounts {
			if mp.Mount == m.Ref.Name {
				users = append(users, g.Ref.String())
				break
			}
		}
	}
	on := func(storage string) bool {
		under, _ := have.MountOf(want, storage)
		return under == m
	}
	for _, b := range want.Backups {
		if on(b.Storage) {
			users = append(users, b.Ref.String())
		}
	}
	for _, golden := range want.Golden {
		if golden.Publish != nil && on(golden.Publish.Storage) {
			users = append(users, golden.Ref.String())
		}
	}
	return users
}

// bootTime is when the node booted, as the latest task tells by its process' start, counted in
// hundredths of a second since then; zero where no task tells.
func bootTime(have *node.Observed) (boot time.Time) {
	var latest proxmox.UPID
	for _, t := range have.Tasks {
		if t.UPID.Node == have.Node && t.UPID.StartTime > latest.StartTime {
			latest = t.UPID
		}
	}
	if latest.IsZero() {
		return boot
	}
	return time.Unix(latest.StartTime, 0).Add(-time.Duration(latest.PStart) * 10 * time.Millisecond)
}

// over reports whether an operation counts for nothing any more.
func (c *calm) over(operation *journal.Operation) bool {
	return !operation.Time.After(c.all) || !operation.Time.After(c.objects[operation.Object])
}

// fights are the operations that ended well so often that another one would be a fight: those of this process, or while it
// watches those of the last hour; none before something was seen to change what they are about. A backup does the same each
// time, and is meant to.
func (c *calm) fights(j *journal.Journal, watching bool, now time.Time) (fights map[string]bool) {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	if j.Often == 0 {
		return nil
	}
	clear(c.counted)
	ejected := map[string]bool{}
	for i := len(j.Order) - 1; i >= 0; i-- {
		done := j.Order[i]
		if now.Sub(done.Time) > time.Hour && (watching || !done.Sent) {
			break
		}
		if done.Verb == "eject" { // what was done before it was undone on purpose
			ejected[done.Object] = true
		}
		if j.Times[done.Key] < journal.RepeatLimit || done.Result != journal.ResultOK || done.Verb == journal.VerbBackUp || !watching && !done.Sent || ejected[done.Object] || c.over(done) {
			continue
		}
		if c.counted[done.Key]++; c.counted[done.Key] == journal.RepeatLimit {
			if fights == nil {
				fights = map[string]bool{}
			}
			fights[done.Key] = true
		}
	}
	return fights
}
