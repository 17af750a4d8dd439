// Package rights answers who asks and what they may: users, tokens, tickets, roles and the entries
// of user.cfg. PVE: AccessControl.
package rights

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// IsRole reports whether there is a role of a name.
func IsRole(a *ACL, id string) bool {
	_, own := a.w.Access.Roles[id]
	return own || id == "NoAccess" || a.Privileges(id) != nil
}

// A Subject is who asks: a user or one of its tokens.
type Subject struct {
	ID    string // felhom@pve, felhom@pve!agent
	User  *world.User
	Token *world.Token
	cache map[string]map[string]bool // privileges by path
	sets  []map[string]bool          // those of the cache that differ
}

// keep notes the privileges at a path. At most paths they are the same, and are kept once.
func (w *Subject) keep(path string, p map[string]bool) map[string]bool {
	if i := slices.IndexFunc(w.sets, func(set map[string]bool) bool { return maps.Equal(set, p) }); i >= 0 {
		p = w.sets[i]
	} else if len(w.sets) < 8 {
		w.sets = append(w.sets, p)
	}
	w.cache[path] = p
	return p
}

// Root reports whether this is the one that "only root" rules mean.
func (w *Subject) Root() bool { return w.ID == "root@pam" }

// An ACL answers who may do what.
type ACL struct {
	w        *world.World
	subjects map[string]*Subject
	auths    map[string]*Subject // by Authorization header
	Tickets  map[string]string   // who has which
	Written  int                 // how often user.cfg was written, which pmxcfs counts
}

// New reads who there is and what they may from a world.
func New(w *world.World) ACL {
	return ACL{w: w, subjects: make(map[string]*Subject), auths: make(map[string]*Subject), Tickets: make(map[string]string)}
}

// Dirty forgets who there is: the world's users or tokens changed.
func (a *ACL) Dirty() {
	a.subjects = make(map[string]*Subject)
	a.Written++
}

// Subject is the user or token of a name; nil when there is none.
func (a *ACL) Subject(id string) *Subject {
	if w := a.subjects[id]; w != nil {
		return w
	}
	name, tokenID, isToken := strings.Cut(id, "!")
	for _, u := range a.w.Access.Users {
		if u.ID != name {
			continue
		}
		w := &Subject{ID: id, User: u, cache: make(map[string]map[string]bool)}
		if isToken {
			for _, t := range u.Tokens {
				if t.ID == tokenID {
					w.Token = t
				}
			}
			if w.Token == nil {
				return nil
			}
		}
		a.subjects[id] = w
		return w
	}
	if id == "root@pam" { // people act as root also where no user list names it
		w := &Subject{ID: id, User: &world.User{ID: id}, cache: make(map[string]map[string]bool)}
		a.subjects[id] = w
		return w
	}
	return nil
}

// May are the privileges of a subject at a path; the value is whether they propagate. Nobody changes them.
func (a *ACL) May(w *Subject, path string) map[string]bool {
	if p, ok := w.cache[path]; ok {
		return p
	}
	var p map[string]bool
	switch {
	case w.Token == nil:
		p = a.userMay(w.User.ID, path)
	case w.Token.Full:
		p = a.userMay(w.User.ID, path)
	default:
		theirs := a.userMay(w.User.ID, path)
		p = make(map[string]bool)
		for priv, prop := range a.granted("token", w.ID, path) {
			if up, ok := theirs[priv]; ok {
				p[priv] = prop && up
			}
		}
	}
	return w.keep(path, p)
}

func (a *ACL) userMay(id, path string) map[string]bool {
	if id == "root@pam" {
		all := make(map[string]bool, len(AllPrivileges))
		for _, p := range AllPrivileges {
			all[p] = true
		}
		return all
	}
	return a.granted("user", id, path)
}

// granted walks from / to the path; a deeper entry replaces what was inherited,
// the subject's own entries win over its groups', and NoAccess wins over all.
// PVE: AccessControl roles, RPCEnvironment permissions.
func (a *ACL) granted(kind, id, path string) map[string]bool {
	roles := a.roles(kind, id, path)
	privs := make(map[string]bool)
	for role, prop := range roles {
		if role == "NoAccess" {
			return map[string]bool{}
		}
		for _, p := range a.Privileges(role) {
			privs[p] = privs[p] || prop
		}
	}
	for _, member := range a.poolsOf(path) {
		for role := range a.roles(kind, id, "/pool/"+member) {
			for _, p := range a.Privileges(role) {
				privs[p] = privs[p] || false // what comes through a pool is not passed on (measured, 9.2.11)
			}
		}
	}
	return privs
}

func (a *ACL) roles(kind, id, path string) map[string]bool {
	var roles map[string]bool
	parts := strings.Split(strings.Trim(path, "/"), "/")
	at := "/"
	for i := -1; i < len(parts); i++ {
		if i >= 0 {
			if parts[i] == "" {
				continue
			}
			at = strings.TrimSuffix(at, "/") + "/" + parts[i]
		}
		last := i == len(parts)-1 || path == "/"
		own, groups := map[string]bool{}, map[string]bool{}
		for _, e := range a.w.Access.ACL {
			if e.Path != at || e.Here && !last {
				continue
			}
			switch {
			case e.Type == kind && e.ID == id:
				own[e.Role] = !e.Here
			case e.Type == "group" && kind == "user" && slices.Contains(a.w.Access.Groups[e.ID], id):
				groups[e.Role] = !e.Here
			}
		}
		if len(own) == 0 {
			own = groups
		}
		if len(own) > 0 {
			roles = own
		}
		if path == "/" {
			break
		}
	}
	return roles
}

func (a *ACL) poolsOf(path string) []string {
	var in []string
	for _, p := range a.w.Pools {
		if v, ok := strings.CutPrefix(path, "/vms/"); ok {
			for _, id := range p.VMs {
				if strconv.Itoa(id) == v {
					in = append(in, p.ID)
				}
			}
		}
		if v, ok := strings.CutPrefix(path, "/storage/"); ok && slices.Contains(p.Storages, v) {
			in = append(in, p.ID)
		}
	}
	return in
}

// Privileges are those of a role; nil when there is no such one.
func (a *ACL) Privileges(role string) []string {
	if p, ok := a.w.Access.Roles[role]; ok {
		return p
	}
	switch role {
	case "Administrator":
		return AllPrivileges
	case "PVEAdmin":
		return adminPrivileges
	case "PVEAuditor":
		return []string{"Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit", "VM.GuestAgent.Audit"}
	case "PVEVMUser":
		return []string{"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt"}
	}
	return nil
}

// Can reports whether a subject has a privilege.
func (a *ACL) Can(w *Subject, path, priv string) bool {
	if w.Root() {
		return true
	}
	_, ok := a.May(w, path)[priv]
	return ok
}

// Need is the 403 of the first privilege that is missing.
func (a *ACL) Need(w *Subject, path string, privs ...string) error {
	for _, p := range privs {
		if !a.Can(w, path, p) {
			return refusal.Forbid(path + ", " + p)
		}
	}
	return nil
}

// NeedAny is the 403 when none of the privileges is there.
func (a *ACL) NeedAny(w *Subject, path string, privs ...string) error {
	for _, p := range privs {
		if a.Can(w, path, p) {
			return nil
		}
	}
	return refusal.Forbid(path + ", " + strings.Join(privs, "|"))
}

// OnVM and onStorage are the paths of permissions.
func OnVM(vmid int) string { return "/vms/" + strconv.Itoa(vmid) }

// OnStorage is the path of permissions of a storage.
func OnStorage(storage string) string { return "/storage/" + storage }

// AllPrivileges are all privileges of PVE 9.
var AllPrivileges = strings.Fields(`
Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate
Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate
Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming
Sys.Modify Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM
VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network
VM.Config.Options VM.Console VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt
VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot
VM.Snapshot.Rollback`)

// adminPrivileges are PVEAdmin's: all but those that change the system itself.
var adminPrivileges = func() []string {
	var out []string
	for _, p := range AllPrivileges {
		switch p {
		case "Permissions.Modify", "Realm.Allocate", "Sys.Modify", "Sys.PowerMgmt", "Sys.AccessNetwork", "Sys.Incoming":
		default:
			out = append(out, p)
		}
	}
	return out
}()

// Forget empties the caches of privileges, but keeps who is known: what somebody may changed.
func (a *ACL) Forget() {
	a.Written++
	for _, w := range a.subjects {
		w.cache = make(map[string]map[string]bool)
	}
}
