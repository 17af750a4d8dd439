package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planMount plans one USB disk, or several that take turns, at its path.
func planMount(p *planner, m *spec.Mount) (out outcome) {
	o := &m.Object
	if p.Have.Host == nil {
		unseenMount(p, m)
		return out
	}
	for _, op := range p.Have.Host.Running {
		switch {
		case op.Queue != "mount/"+m.Ref.Name:
		case p.Have.Memory.Flight(op.Queue) != nil: // our own
			return outcome{coming: true}
		default:
			p.await(o, fmt.Sprintf("%s runs since %s", op.Name, p.Have.Clock(op.Since)), "wait for it")
			return out
		}
	}
	var have privileged.Mount
	if at := slices.IndexFunc(p.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path }); at >= 0 {
		have = p.Have.Host.Mounts[at]
	}
	if m.Absent {
		planUnmount(p, m, have)
		return out
	}
	if ob := questions.Misplaced(p.Questions, m); ob != nil {
		p.block(o, "path", ob.Reason, ob.Fix...)
		return out
	}
	for _, text := range []string{questions.Dying(p.Questions, m), questions.Unsealed(p.Questions, m)} {
		if text != "" {
			p.note(o, "%s", text)
		}
	}
	if have.Mounted && !have.Gone {
		planMounted(p, m, have)
		return out
	}
	if have.Fstab != nil && have.Fstab.Name == "" {
		p.block(o, "path", fmt.Sprintf("%s belongs to another line of /etc/fstab: %s", have.Path, strings.Join(strings.Fields(have.Fstab.Text), " ")), "remove that line, or choose another path")
		return out
	}
	return planUnmounted(p, m)
}

// unseenMount blocks a mount where the root helper is not there to look at it, unless PVE shows
// that it is mounted.
func unseenMount(p *planner, m *spec.Mount) {
	_, mounted := p.Have.MountOf(p.Want, m.Storage)
	if m.Storage != "" && mounted && !m.Absent {
		return
	}
	ob := questions.NeedsHost(p.Questions)
	if !mounted && !m.Absent {
		ob.Fix = append(ob.Fix, "or "+questions.MountYourself(p.Questions, m))
	}
	p.block(&m.Object, "uuid", ob.Reason, ob.Fix...)
}

// planUnmounted mounts the first disk of a mount that is connected and was not ejected.
func planUnmounted(p *planner, m *spec.Mount) (out outcome) {
	for _, disk := range m.UUIDs {
		if _, ok := node.Ejected(p.Have, disk); ok {
			continue
		}
		found := questions.DisksOf(p.Questions, disk.UUID)
		if len(found) == 0 {
			continue
		}
		if !mountable(p, m, disk) {
			return out
		}
		mount(p, m, disk, fmt.Sprintf("mount %s (%s) at %s", questions.Name(disk), found[0].Device, m.Path))
		return outcome{coming: true}
	}
	if why, fix := questions.EjectedOf(p.Questions, m); why != "" {
		p.block(&m.Object, "uuid", why, fix...)
		return out
	}
	unreadable, fix := privileged.Unreadable(p.Have.Host.Disks), "connect it; the agent carries on by itself"
	if unreadable != "" { // it may be connected already
		fix = "check that disk, or connect the right one; the agent carries on by itself"
	}
	p.block(&m.Object, "uuid", NotConnected(m)+unreadable+questions.MissedBy(p.Questions, m), fix)
	return out
}

// mountable asks the root helper's own policy whether it mounts a disk, and blocks the mount with its reason where it does not.
func mountable(p *planner, m *spec.Mount, disk spec.Disk) bool {
	_, refused := privileged.Mountable(questions.MountSpec(p.Have.Host, m, disk), p.Have.Host.Disks, p.Have.Host.Mounts)
	if refused != nil {
		p.block(&m.Object, refused.Arg, refused.Reason, refused.Fix)
	}
	return refused == nil
}

// planMounted looks at what is mounted at the path of a mount: a declared disk stays, and
// has its line in /etc/fstab.
func planMounted(p *planner, m *spec.Mount, have privileged.Mount) {
	o := &m.Object
	disk, ours := p.Have.MountedDisk(m)
	if have.Silent {
		p.block(o, "uuid", fmt.Sprintf("%s, which is mounted at %s, does not answer: it or its cable may be failing", have.Source, m.Path), "check dmesg; then reconnect it, or exchange it")
		return
	}
	if ob := questions.Mixed(p.Questions, have); ob != nil {
		p.block(o, "uuid", ob.Reason, ob.Fix...)
		return
	}
	if !ours {
		label := ""
		if have.Label != "" {
			label = fmt.Sprintf(" (label %s)", have.Label)
		}
		p.block(o, "uuid", fmt.Sprintf("%s shows UUID %s%s, which is not declared; it is left alone", m.Path, text.OrElse(have.UUID, "unknown"), label),
			fmt.Sprintf("unmount it yourself: umount %s, or declare its uuid", m.Path))
		return
	}
	if ob := questions.Ejecting(p.Questions, m); ob != nil {
		p.block(o, "uuid", ob.Reason, ob.Fix...)
		return
	}
	for _, other := range m.UUIDs {
		if other.UUID != disk.UUID && len(questions.DisksOf(p.Questions, other.UUID)) > 0 {
			p.note(o, "%s is mounted and %s is connected too: the mounted one stays", questions.Name(disk), questions.Name(other))
		}
	}
	if ob := questions.ReadOnly(p.Questions, m); ob != nil {
		p.block(o, "options", ob.Reason, ob.Fix...)
		return
	}
	line, wanted := "", privileged.FstabEntry(questions.MountSpec(p.Have.Host, m, disk))
	if have.Fstab != nil && have.Fstab.Name == m.Ref.Name {
		line = have.Fstab.Text
	}
	var changes []string
	if !privileged.Hardened(have) {
		changes = append(changes, "remount it with nosuid,nodev")
	}
	switch {
	case line == wanted:
	case line == "":
		changes = append(changes, "write its line into /etc/fstab")
	case wanted == "":
		changes = append(changes, "take its line out of /etc/fstab, for its disks take turns")
	default:
		changes = append(changes, "change its line in /etc/fstab, which counts when it is mounted the next time")
	}
	if len(changes) > 0 && mountable(p, m, disk) {
		mount(p, m, disk, strings.Join(changes, "; "))
	}
}

func NotConnected(m *spec.Mount) string {
	if len(m.UUIDs) == 1 {
		return fmt.Sprintf("%s is not connected", questions.Name(m.UUIDs[0]))
	}
	var names []string
	for _, d := range m.UUIDs {
		names = append(names, questions.Name(d))
	}
	return fmt.Sprintf("neither %s is connected", strings.Join(names, " nor "))
}

func mount(p *planner, m *spec.Mount, disk spec.Disk, text string) {
	op := privileged.MountUSBByUUID(p.Have.Node, questions.MountSpec(p.Have.Host, m, disk))
	p.add(plan.Action{ID: m.Ref.String() + "/mount/" + disk.UUID, Object: m.Ref, Verb: "mount", Symbol: plan.Create, Text: text,
		Queue: "mount/" + m.Ref.Name, Timeout: questions.Timeout(&m.Object, questions.ShortTask), Op: &op})
}

// planUnmount carries out `ensure: absent`: nothing else but an eject unmounts.
func planUnmount(p *planner, m *spec.Mount, have privileged.Mount) {
	disk, ours := p.Have.MountedDisk(m)
	line := have.Fstab != nil && have.Fstab.Name == m.Ref.Name
	if !ours && !line {
		return
	}
	if users := questions.Users(p.Questions, m); len(users) > 0 {
		p.block(&m.Object, "ensure", fmt.Sprintf("%s still uses %s", text.List(users), m.Path), "stop it first, or take its mount point away")
		return
	}
	op := privileged.UnmountUSB(p.Have.Node, privileged.UnmountSpec{Name: m.Ref.Name, UUID: disk.UUID, Path: m.Path, DropFstab: line})
	p.add(plan.Action{ID: m.Ref.String() + "/unmount", Object: m.Ref, Verb: "unmount", Symbol: plan.Delete, Text: fmt.Sprintf("unmount %s (ensure: absent)", m.Path),
		Effect: plan.Disruptive, Queue: "mount/" + m.Ref.Name, Timeout: questions.Timeout(&m.Object, questions.ShortTask), Op: &op})
}
