package pvesim

import (
	"net/url"
	"regexp"
	"sort"
	"strings"
)

// access is user.cfg.
type access struct {
	Users  []*user             `yaml:"users"`
	Roles  map[string][]string `yaml:"roles,omitempty"` // besides the built-in ones
	ACL    []aclEntry          `yaml:"acl,omitempty"`
	Groups map[string][]string `yaml:"groups,omitempty"`
}

type user struct {
	ID       string   `yaml:"id"`
	Comment  string   `yaml:"comment,omitempty"`
	Email    *string  `yaml:"email,omitempty"`
	Password string   `yaml:"password,omitempty"`
	Disabled bool     `yaml:"disabled,omitempty"`
	Expire   int64    `yaml:"expire,omitempty"`
	Tokens   []*token `yaml:"tokens,omitempty"`
}

type token struct {
	ID      string `yaml:"id"` // the part after the !
	Secret  string `yaml:"secret"`
	Full    bool   `yaml:"full,omitempty"` // without privilege separation
	Expire  int64  `yaml:"expire,omitempty"`
	Comment string `yaml:"comment,omitempty"`
}

type aclEntry struct {
	Path string `yaml:"path"`
	Type string `yaml:"type"` // user, token, group
	ID   string `yaml:"id"`
	Role string `yaml:"role"`
	Here bool   `yaml:"here,omitempty"` // does not propagate
}

// A subject is who asks: a user or one of its tokens.
type subject struct {
	id    string // felhom@pve, felhom@pve!agent
	user  *user
	token *token
	cache map[string]map[string]bool // privileges by path
}

// root reports whether this is the one that "only root" rules mean.
func (w *subject) root() bool { return w.id == "root@pam" }

// An acl answers who may do what.
type acl struct {
	s        *Sim
	subjects map[string]*subject
}

func (a *acl) dirty() { a.subjects = make(map[string]*subject) }

// subject is the user or token of a name; nil when there is none.
func (a *acl) subject(id string) *subject {
	if w := a.subjects[id]; w != nil {
		return w
	}
	name, tokenID, isToken := strings.Cut(id, "!")
	for _, u := range a.s.w.Access.Users {
		if u.ID != name {
			continue
		}
		w := &subject{id: id, user: u, cache: make(map[string]map[string]bool)}
		if isToken {
			for _, t := range u.Tokens {
				if t.ID == tokenID {
					w.token = t
				}
			}
			if w.token == nil {
				return nil
			}
		}
		a.subjects[id] = w
		return w
	}
	if id == "root@pam" { // people act as root also where no user list names it
		w := &subject{id: id, user: &user{ID: id}, cache: make(map[string]map[string]bool)}
		a.subjects[id] = w
		return w
	}
	return nil
}

var tokenRE = regexp.MustCompile(`^([^\s:/]+@[A-Za-z][A-Za-z0-9._-]+)!([A-Za-z][A-Za-z0-9._-]+)[=: ]([^=]+)$`)

// authenticate is the subject of an Authorization header and a cookie; without
// one, the text of the 401.
func (s *Sim) authenticate(header, cookie string) (*subject, string) {
	if cookie != "" {
		if w := s.tickets[cookie]; w != "" {
			if who := s.acl.subject(w); who != nil {
				return who, ""
			}
		}
		return nil, "Authentication failed!"
	}
	if header == "" {
		return nil, "No ticket"
	}
	if w := s.auths[header]; w != nil && !s.expired(w) {
		return w, ""
	}
	rest, ok := strings.CutPrefix(header, "PVEAPIToken")
	if !ok || rest == "" || rest[0] != '=' && rest[0] != ' ' {
		return nil, "No ticket"
	}
	value, _, _ := strings.Cut(rest[1:], ";")
	if dec, err := url.PathUnescape(value); err == nil {
		value = dec
	}
	m := tokenRE.FindStringSubmatch(value)
	if m == nil {
		return nil, "Authentication failed!"
	}
	who := s.acl.subject(m[1] + "!" + m[2])
	if who == nil || who.token == nil || who.token.Secret != m[3] || s.expired(who) {
		return nil, "Authentication failed!"
	}
	s.auths[header] = who
	return who, ""
}

func (s *Sim) expired(w *subject) bool {
	if s.acl.subjects[w.id] != w || w.user.Disabled {
		return true
	}
	now := s.now.Unix()
	return w.user.Expire > 0 && w.user.Expire <= now ||
		w.token != nil && w.token.Expire > 0 && w.token.Expire <= now
}

// may are the privileges of a subject at a path; the value is whether they propagate.
func (a *acl) may(w *subject, path string) map[string]bool {
	if p, ok := w.cache[path]; ok {
		return p
	}
	var p map[string]bool
	switch {
	case w.token == nil:
		p = a.userMay(w.user.ID, path)
	case w.token.Full:
		p = a.userMay(w.user.ID, path)
	default:
		theirs := a.userMay(w.user.ID, path)
		p = make(map[string]bool)
		for priv, prop := range a.granted("token", w.id, path) {
			if up, ok := theirs[priv]; ok {
				p[priv] = prop && up
			}
		}
	}
	w.cache[path] = p
	return p
}

func (a *acl) userMay(id, path string) map[string]bool {
	if id == "root@pam" {
		all := make(map[string]bool, len(allPrivileges))
		for _, p := range allPrivileges {
			all[p] = true
		}
		return all
	}
	return a.granted("user", id, path)
}

// granted walks from / to the path; a deeper entry replaces what was inherited,
// the subject's own entries win over its groups', and NoAccess wins over all.
// PVE: AccessControl roles, RPCEnvironment permissions.
func (a *acl) granted(kind, id, path string) map[string]bool {
	roles := a.roles(kind, id, path)
	privs := make(map[string]bool)
	for role, prop := range roles {
		if role == "NoAccess" {
			return map[string]bool{}
		}
		for _, p := range a.privileges(role) {
			privs[p] = privs[p] || prop
		}
	}
	for _, member := range a.poolsOf(path) {
		for role := range a.roles(kind, id, "/pool/"+member) {
			for _, p := range a.privileges(role) {
				privs[p] = privs[p] || false // what comes through a pool is not passed on (measured, 9.2.11)
			}
		}
	}
	return privs
}

func (a *acl) roles(kind, id, path string) map[string]bool {
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
		for _, e := range a.s.w.Access.ACL {
			if e.Path != at || e.Here && !last {
				continue
			}
			switch {
			case e.Type == kind && e.ID == id:
				own[e.Role] = !e.Here
			case e.Type == "group" && kind == "user" && contains(a.s.w.Access.Groups[e.ID], id):
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

func (a *acl) poolsOf(path string) []string {
	var in []string
	for _, p := range a.s.w.Pools {
		if v, ok := strings.CutPrefix(path, "/vms/"); ok {
			for _, id := range p.VMs {
				if itoa(id) == v {
					in = append(in, p.ID)
				}
			}
		}
		if v, ok := strings.CutPrefix(path, "/storage/"); ok && contains(p.Storages, v) {
			in = append(in, p.ID)
		}
	}
	return in
}

func (a *acl) privileges(role string) []string {
	if p, ok := a.s.w.Access.Roles[role]; ok {
		return p
	}
	switch role {
	case "Administrator":
		return allPrivileges
	case "PVEAdmin":
		return adminPrivileges
	case "PVEAuditor":
		return []string{"Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit", "VM.GuestAgent.Audit"}
	case "PVEVMUser":
		return []string{"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt"}
	}
	return nil
}

// can reports whether a subject has a privilege.
func (s *Sim) can(w *subject, path, priv string) bool {
	if w.root() {
		return true
	}
	_, ok := s.acl.may(w, path)[priv]
	return ok
}

// need is the 403 of the first privilege that is missing.
func (s *Sim) need(w *subject, path string, privs ...string) error {
	for _, p := range privs {
		if !s.can(w, path, p) {
			return forbid(path + ", " + p)
		}
	}
	return nil
}

// needAny is the 403 when none of the privileges is there.
func (s *Sim) needAny(w *subject, path string, privs ...string) error {
	for _, p := range privs {
		if s.can(w, path, p) {
			return nil
		}
	}
	return forbid(path + ", " + strings.Join(privs, "|"))
}

// onVM and onStorage are the paths of permissions.
func onVM(vmid int) string            { return "/vms/" + itoa(vmid) }
func onStorage(storage string) string { return "/storage/" + storage }

var allPrivileges = strings.Fields(`
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
	for _, p := range allPrivileges {
		switch p {
		case "Permissions.Modify", "Realm.Allocate", "Sys.Modify", "Sys.PowerMgmt", "Sys.AccessNetwork", "Sys.Incoming":
		default:
			out = append(out, p)
		}
	}
	return out
}()

// permissions answers GET /access/permissions.
func permissions(c *call) error {
	s := c.s
	who := c.who
	if id := c.param("userid"); id != "" && id != who.id {
		if err := s.need(who, "/access", "Sys.Audit"); err != nil && !(who.token == nil && strings.HasPrefix(id, who.id+"!")) {
			return err
		}
		if who = s.acl.subject(id); who == nil {
			return fail("no such user ('%s')", id)
		}
	}
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
	if p := c.param("path"); p != "" {
		paths = []string{p}
	} else {
		for _, e := range s.w.Access.ACL {
			if !contains(paths, e.Path) {
				paths = append(paths, e.Path)
			}
		}
		for _, p := range s.w.Pools { // their members have what is given on the pool
			for _, id := range p.VMs {
				if path := onVM(id); !contains(paths, path) {
					paths = append(paths, path)
				}
			}
			for _, id := range p.Storages {
				if path := onStorage(id); !contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
	}
	sort.Strings(paths)
	d := c.data().open()
	for _, p := range paths {
		privs := s.acl.may(who, p)
		if len(privs) == 0 {
			continue
		}
		d.key(p).open()
		for _, priv := range sortedKeys(privs) {
			d.flag(priv, privs[priv])
		}
		d.close()
	}
	d.close()
	return nil
}

func contains[T comparable](list []T, v T) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
