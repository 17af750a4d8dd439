package applying

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// An ending is what a waiter tells of an operation.
type ending struct {
	operation *journal.Operation
	result    string
	text      string
	log       []string
	facts     map[string]string
	err       error
	at        time.Time // by the node's clock
}

// The cool-down of a failed operation: doubling up to a limit.
const (
	coolFirst = 30 * time.Second
	coolMost  = 15 * time.Minute
)

// failureCure is what a person can do about a failure.
func failureFix(e ending) []string {
	var task *proxmox.TaskError
	denied := proxmox.DeniedBy(e.err)
	unseen, _ := errors.AsType[*unseenError](e.err)
	storage, trouble := serverTrouble(e)
	switch {
	case ofTest(e.operation) && denied != nil:
		return []string{"see felhom-agent --selftest: what the token of restore tests lacks", "or, as root, the lines of: felhom-agent --print-setup --restore-tests"}
	case trouble != "":
		return serverFix(storage, trouble)
	case unseen != nil && unseen.fix != "":
		return []string{unseen.fix}
	case denied != nil && len(denied.Privileges) > 0:
		return []string{questions.AppendPrivilege(denied.Privileges[0]), fmt.Sprintf("or, where an ACL entry on %s hides it: pveum acl list", denied.Path)}
	case errors.As(e.err, &task) && e.operation.Facts["storage"] != "" && strings.Contains(strings.Join(task.LogTail, "\n"), "No space left"):
		fix := []string{"make room on " + e.operation.Facts["storage"] + ", or connect a larger disk"}
		for _, line := range task.LogTail {
			if m := creatingArchive.FindStringSubmatch(line); m != nil { // what vzdump leaves behind
				base, _, vm := strings.Cut(m[1], ".vma")
				kind := "vma"
				if !vm {
					base, _, _ = strings.Cut(m[1], ".tar")
					kind = "tar"
				}
				fix = append(fix, fmt.Sprintf("what is left of it, as root: rm -rf %s.log %s.tmp %s.%s*.dat", base, base, base, kind))
			}
		}
		return fix
	case proxmox.IsBackupLimit(e.err) && e.operation.Facts["storage"] != "": // of the storage itself it would not have been planned
		return []string{fmt.Sprintf("the storage has no retention, so that of /etc/vzdump.conf counts. Let it keep all: pvesm set %s --prune-backups keep-all=1", e.operation.Facts["storage"])}
	case e.result == journal.ResultRefused && e.operation.Verb == "resize": // of a size that its config does not show yet
		return []string{fmt.Sprintf("check whether the volume has that size already, as root: %s --vmid %s; then run it again", rescan(e.operation.Call), strings.TrimPrefix(e.operation.Queue, "lxc/"))}
	case errors.As(e.err, &task):
		return []string{fmt.Sprintf("log: felhom-agent --history --only %s", e.operation.Object)}
	}
	var refused *privileged.RefusedError
	if errors.As(e.err, &refused) && refused.Fix != "" {
		return []string{refused.Fix}
	}
	return []string{fmt.Sprintf("see felhom-agent --history --only %s", e.operation.Object)}
}

// rescan is the command that reads the sizes of a guest's volumes anew.
func rescan(call *proxmox.Call) string {
	if plan.TypeInPath(call.Path).VM() {
		return "qm disk rescan"
	}
	return "pct rescan"
}

// basis stands for what a failure may depend on besides the YAML: of a mount the disks
// that are plugged in, else the token's rights and the guest's config. When that of a
// permanent one changes, or that of a mount, the operation is tried again.
func basis(queue string, have *node.Observed) string {
	if have == nil {
		return ""
	}
	if strings.HasPrefix(queue, "mount/") {
		return text.ShortHash(fmt.Sprint(have.Disks()))
	}
	id, ok := strings.CutPrefix(queue, "lxc/")
	rights := maps.Clone(have.Permissions)
	maps.DeleteFunc(rights, func(path string, _ map[string]bool) bool { // of which guests it knows more depends on the look
		return strings.HasPrefix(path, "/vms/") && path != "/vms/"+id
	})
	s := fmt.Sprint(rights) // maps are printed in order
	if ok {
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if state := have.Guests[vmid]; state != nil && state.Config != nil {
				for _, key := range text.Keys(state.Config.Raw) {
					switch key {
					case "parent", "lock", "description": // our own operations change these
					default:
						s += key + "=" + state.Config.Raw[key] + "\n"
					}
				}
			}
		}
	}
	return text.ShortHash(s)
}

// stateNow says in what state a guest is, in the words of a failure's second line.
func stateNow(queue string, have *node.Observed) string {
	id, ok := strings.CutPrefix(queue, "lxc/")
	if !ok || have == nil {
		return ""
	}
	vmid, err := proxmox.ParseVMID(id)
	if err != nil {
		return ""
	}
	state := have.Guests[vmid]
	switch {
	case state == nil:
		return "NOT THERE"
	case state.Lock != "":
		return fmt.Sprintf("%s, locked (%s)", strings.ToUpper(state.Status), state.Lock)
	}
	return strings.ToUpper(state.Status)
}

// guestName is what people call the guest of a queue.
func guestName(queue string, have *node.Observed) string {
	id := strings.TrimPrefix(queue, "lxc/")
	if vmid, err := proxmox.ParseVMID(id); err == nil && have != nil {
		if state := have.Guests[vmid]; state != nil && state.Name != "" {
			return state.Name
		}
	}
	return id
}

// hiddenCure is the line for a privilege that the token has on / and that an entry on a
// narrower path takes away; "" where that is not it.
func hiddenFix(err error, have *node.Observed) string {
	denied := proxmox.DeniedBy(err)
	if denied == nil || len(denied.Privileges) == 0 || have == nil || !have.Permissions.Has("/", denied.Privileges[0]) {
		return ""
	}
	return fmt.Sprintf("pveum acl delete %s --tokens '%s' --roles ROLE (pveum acl list names the role)", denied.Path, have.TokenID)
}

// IsNow ends the label of the line that says in what state a guest is after a failure.
const IsNow = " is now"

// RanBefore follows the state of a guest that an operation of ours has shut down.
const RanBefore = " (it was running before)"

// failureLines are what a person wants to know at two in the morning: what PVE said, in
// what state the guest is now, what to do, and what happens next.
func failureLines(e ending, f journal.Failure, have *node.Observed) []EventLine {
	var lines []EventLine
	if who := "PVE said"; e.text != "" {
		if _, unseen := errors.AsType[*unseenError](e.err); unseen {
			who = "read back"
		} else if e.operation.Op != nil {
			who = "root helper said"
		}
		lines = append(lines, EventLine{who, e.text})
	}
	if now := stateNow(e.operation.Queue, have); now != "" {
		if now != "RUNNING" && e.operation.Facts["restart"] != "" {
			now += RanBefore
		}
		lines = append(lines, EventLine{guestName(e.operation.Queue, have) + IsNow, now})
	}
	if denied := proxmox.DeniedBy(e.err); denied != nil && len(denied.Privileges) > 0 {
		missing := fmt.Sprintf("%s on %s", strings.Join(denied.Privileges, " or "), denied.Path)
		if have != nil {
			missing += " for " + tokenOf(e.operation, have)
		}
		lines = append(lines, EventLine{"missing", missing})
		if hiddenFix(e.err, have) != "" {
			lines = append(lines, EventLine{"because", fmt.Sprintf("an ACL entry on %s, or above it, replaces the one on / for this token", denied.Path)})
		}
	}
	if !e.operation.Upid.IsZero() {
		lines = append(lines, EventLine{"task", e.operation.Upid.String()})
	}
	for _, fix := range f.Fix {
		lines = append(lines, EventLine{"fix", fix})
	}
	return append(lines, EventLine{"next", whatNext(e, f)})
}

// whatNext says when a failed operation is tried again.
func whatNext(e ending, f journal.Failure) string {
	switch {
	case f.Trouble == proxmox.ServerDenies && e.operation.Verb == "delete archive" && strings.HasPrefix(e.operation.Object, "backups/"):
		return fmt.Sprintf("not asked again for %s, unless you ask for it: felhom-agent --once --only %s", text.Ago(questions.RefusedFor), e.operation.Object)
	case f.Trouble == proxmox.ServerOwner && e.operation.Verb == journal.VerbBackUp:
		return fmt.Sprintf("not tried again for %s, unless the storage gets another user, or you ask for it: felhom-agent --once --only %s", text.Ago(questions.RefusedFor), e.operation.Object)
	case e.operation.Verb == journal.VerbTest:
		return "tested again when it is due, or now: felhom-agent --test " + e.operation.Facts[journal.FactGuest]
	case f.Until.IsZero():
		return "not tried again before the YAML, the permissions or the guest change"
	}
	return fmt.Sprintf("tried again in %s (with --once: at the next run)", text.Ago(f.Until.Sub(e.at)))
}
