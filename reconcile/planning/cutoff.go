package planning

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// cutOff blocks an object whose guest is only what a creation that was cut off has left. PVE
// writes the config of a new guest at the end of its task; before that it is the line
// `lock: create`, and no config names the volumes that the task has made (measured, PVE 9.2.11).
// So unlocking and destroying that guest frees none of them.
func cutOff(p *planner, o *spec.Object, state *node.GuestState) (down string) {
	if !node.CutOff(state) || p.Have.Holder(state.VMID) != nil {
		return ""
	}
	down = "its creation was cut off"
	reason := fmt.Sprintf("the creation of %d was cut off: its configuration is `lock: create` alone", state.VMID)
	begun, ours := questions.OurCreation(p.Questions, state.VMID)
	if !ours {
		p.block(o, "vmid", reason+", and this agent did not begin it", fmt.Sprintf("find out who did: grep :%d: /var/log/pve/tasks/index", state.VMID), "or choose another vmid")
		return down
	}
	fix := []string{fmt.Sprintf("as root: %[1]s unlock %[2]d && %[1]s destroy %[2]d", state.Type.Tool(), state.VMID)}
	for _, v := range p.Have.ByGuest[state.VMID] {
		switch {
		case v.Content != "images" && v.Content != "rootdir":
		case !v.CTime.IsZero() && !v.CTime.Before(begun.Truncate(time.Second)):
			fix = append(fix, fmt.Sprintf("its new volume stays, so also: pvesm free %s", v.VolID))
		default:
			fix = append(fix, fmt.Sprintf("%s (%s) is older or of unknown age; keep it until you have checked it", v.VolID, text.OrElse(v.Size.Human(), "no size")))
		}
	}
	if len(fix) == 1 {
		fix = append(fix, fmt.Sprintf("a volume that it made stays; find it and free it: pvesm list STORAGE --vmid %d", state.VMID))
	}
	p.block(o, "vmid", reason, append(fix, fmt.Sprintf("then create it again: felhom-agent --once --only %s", o.Ref))...) // for PVE shows that it was destroyed
	return down
}
