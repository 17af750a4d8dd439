package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
)

// runSelftest looks whether the agent could work here, and with --selftest=task also does something.
func runSelftest(ctx context.Context, cmd *command, con *console.Console) (code int, err error) {
	if cmd.testNotify {
		return runSelftestNotify(ctx, cmd, con)
	}
	n, err := connect(ctx, cmd, con, cmd.task)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	t := &selftest{node: n, view: n.Client.Read(), w: con.Stdout}
	t.run(ctx)
	if cmd.task && t.failed == 0 {
		t.task(ctx, cmd.vmid)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if t.failed > 0 {
		return exit.Failed, nil
	}
	return exit.OK, nil
}

// A selftest prints one line per check.
type selftest struct {
	node   *session.Session
	view   *proxmox.View
	w      io.Writer
	failed int
}

func (t *selftest) ok(what, format string, args ...any) {
	fmt.Fprintf(t.w, "[ ok ] %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (t *selftest) fail(what, format string, args ...any) {
	t.failed++
	fmt.Fprintf(t.w, "[fail] %-14s %s\n", what, fmt.Sprintf(format, args...))
}

// oldest is the first version of PVE whose API is known.
const oldest = 8

func (t *selftest) run(ctx context.Context) {
	t.notify()
	version, err := t.view.Version(ctx)
	if err != nil {
		t.fail("connection", "%v", t.node.Explain(err)) // all else would say the same
		return
	}
	major, _, _ := strings.Cut(version.Version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldest {
		t.fail("version", "PVE %s: this agent knows %d and later", version.Version, oldest)
	} else {
		t.ok("version", "PVE %s, token %s", version.Version, t.node.Config.Token.ID())
	}
	if err := t.node.Find(ctx); err != nil {
		t.fail("node", "%v", t.node.Explain(err))
		return
	}
	node := t.node.Source.Node
	t.ok("node", "%s, the owner in the ownership markers is %s", node, t.node.Source.Owner)
	permissions, err := t.permissions(ctx)
	if err != nil {
		t.fail("privileges", "%v", err)
		return
	}
	if t.rights(permissions); !permissions.Has("/", "VM.Audit") {
		return // what follows would look empty, not forbidden
	}
	if status, err := t.view.NodeStatus(ctx, node); err != nil {
		t.fail("node status", "%v", err)
	} else {
		t.ok("node status", "up %s, %s of %s memory used", days(status.Uptime), status.Memory.Used.Human(), status.Memory.Total.Human())
	}
	if guests, err := t.view.ListLXC(ctx, node); err != nil {
		t.fail("guests", "%v", err)
	} else {
		running := 0
		for _, g := range guests {
			if g.Running() {
				running++
			}
		}
		t.ok("guests", "%s, %d running", session.Plural(len(guests), "container", "containers"), running)
	}
	t.vms(ctx, permissions)
	t.tests(ctx)
	t.storages(ctx)
	t.clock(ctx)
	t.expiry(ctx)
	t.fence(ctx)
}

// vms counts the virtual machines of the node, and says what a household that declares them needs.
func (t *selftest) vms(ctx context.Context, have proxmox.Permissions) {
	machines, err := t.view.ListQemu(ctx, t.node.Source.Node)
	if err != nil {
		t.fail("VMs", "%v", err)
		return
	}
	lacking := slices.DeleteFunc(slices.Clone(recovery.VMPrivileges), func(p string) bool { return have.Has("/", p) })
	switch {
	case len(machines) == 0:
	case len(lacking) > 0:
		t.ok("VMs", "%s; where the YAML declares them, their restore with mapped devices also needs %s: pveum role modify %s --append 1 --privs %s",
			session.Plural(len(machines), "VM", "VMs"), strings.Join(lacking, ", "), setupRole, strings.Join(lacking, ","))
	default:
		t.ok("VMs", "%s; %s, which their restore with mapped devices needs, on /", session.Plural(len(machines), "VM", "VMs"), strings.Join(recovery.VMPrivileges, ", "))
	}
}

// permissions are the token's own, those on every path that an ACL entry names for certain: what an entry
// shuts the token out of is missing in PVE's list of them.
func (t *selftest) permissions(ctx context.Context) (proxmox.Permissions, error) {
	have, err := t.view.Permissions(ctx)
	if err != nil {
		return nil, err
	}
	acl, err := t.view.ACL(ctx)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, entry := range acl {
		if _, listed := have[entry.Path]; !listed {
			named[entry.Path] = true
		}
	}
	return t.view.Permissions(ctx, slices.Sorted(maps.Keys(named))...)
}

// rights compares the token's own privileges with those that it needs. What is missing is printed with
// the command that gives it: a change of the role, since an ACL entry on a narrower path would replace
// what the role on / gives there.
func (t *selftest) rights(have proxmox.Permissions) {
	lacking := slices.DeleteFunc(slices.Clone(needed), func(p string) bool { return have.Has("/", p) })
	var elsewhere []string // paths with an entry of their own that takes something away
	paths := map[string]bool{"/nodes": true, "/pool": true, "/sdn": true, "/storage": true, "/vms": true}
	for path := range have {
		paths[path] = true
	}
	for path := range paths {
		missing := slices.DeleteFunc(slices.Clone(needed), func(p string) bool { return !have.Has("/", p) || have.Has(path, p) || !reaches(path, p) })
		if len(missing) > 0 {
			elsewhere = append(elsewhere, fmt.Sprintf("%s (%s)", path, strings.Join(missing, ", ")))
		}
	}
	slices.Sort(elsewhere)
	switch {
	case len(lacking) == len(needed): // not the role is what lacks them, but one of the two has none
		token := t.node.Config.Token
		t.fail("privileges", "the token has none of the %d on /. It has what both it and its user are given: pveum acl modify / --users %s --roles %s; pveum acl modify / --tokens '%s' --roles %s",
			len(needed), token.User(), setupRole, token.ID(), setupRole)
	case len(lacking) > 0:
		t.fail("privileges", "%s %s missing on /: pveum role modify %s --append 1 --privs %s",
			strings.Join(lacking, ", "), map[bool]string{true: "is", false: "are"}[len(lacking) == 1], setupRole, strings.Join(lacking, ","))
	case !slices.Contains(slices.Collect(maps.Values(have["/"])), true):
		token := t.node.Config.Token
		t.fail("privileges", "all %d on /, but the ACL entry on / does not reach the paths below it: pveum acl modify / --propagate 1 --users %s --tokens '%s' --roles %s",
			len(needed), token.User(), token.ID(), setupRole)
	case len(elsewhere) > 0:
		t.fail("privileges", "all %d on /, but an ACL entry of its own takes some away on %s: pveum acl list", len(needed), strings.Join(elsewhere, "; "))
	default:
		t.ok("privileges", "all %d that are needed, on /", len(needed))
	}
}

// reaches reports whether a privilege means anything on a path.
func reaches(path, privilege string) bool {
	kind, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	prefix, ok := map[string]string{"vms": "VM.", "storage": "Datastore.", "nodes": "Sys.", "sdn": "SDN.", "pool": "Pool."}[kind]
	return ok && strings.HasPrefix(privilege, prefix)
}

// fence asks the root helper something harmless.
func (t *selftest) fence(ctx context.Context) {
	if t.node.Runner == nil {
		t.ok("root helper", "none (%s): golden images, USB disks and bind mounts are left unchanged", t.node.Source.FenceReason)
		return
	}
	if err := t.node.GreetFence(ctx); err != nil {
		t.fail("root helper", "%v", err)
		return
	}
	t.ok("root helper", "answers")
}

// selftestSnapshot is what the task test takes and deletes.
const selftestSnapshot = "felhom-selftest"

// task takes a real snapshot, waits for it, and deletes it.
func (t *selftest) task(ctx context.Context, vmid proxmox.VMID) {
	client, node := t.node.Client, t.node.Source.Node
	if guests, err := t.view.ListLXC(ctx, node); err == nil && !slices.ContainsFunc(guests, func(g proxmox.Guest) bool { return g.VMID == vmid }) {
		var there []string
		for _, g := range guests {
			there = append(there, fmt.Sprintf("%d (%s)", g.VMID, g.Name))
		}
		t.fail("snapshot", "of %s: no such container on %s; found: %s", vmid, node, strings.Join(there, ", "))
		return
	}
	name := fmt.Sprintf("%s-%s", selftestSnapshot, t.view.Now().UTC().Format("150405"))
	begin := time.Now()
	upid, err := client.Snapshot(ctx, node, vmid, name, "made and deleted by felhom-agent --selftest=task")
	if err == nil {
		_, err = client.WaitTask(ctx, upid, t.node.Wait)
	}
	if err != nil {
		t.fail("snapshot", "of %s: %v", vmid, t.node.Explain(err))
		return
	}
	t.ok("snapshot", "%s of guest %s made in %s (%s)", name, vmid, time.Since(begin).Round(time.Millisecond), upid)
	// The snapshot goes away also when somebody ends us now.
	ctx = context.WithoutCancel(ctx)
	begin = time.Now()
	upid, err = client.DeleteSnapshot(ctx, node, vmid, name)
	if err == nil {
		_, err = client.WaitTask(ctx, upid, t.node.Wait)
	}
	if err != nil {
		t.fail("snapshot", "%s of guest %s could not be deleted: %v. By hand: pct delsnapshot %s %s", name, vmid, err, vmid, name)
		return
	}
	t.ok("snapshot", "%s deleted in %s", name, time.Since(begin).Round(time.Millisecond))
}
