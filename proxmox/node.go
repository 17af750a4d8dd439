package proxmox

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Version is what GET /version says: of PVE, not of the kernel.
type Version struct {
	Version string // 9.2.11
	Release string // 9.2
	RepoID  string
}

// Version asks for PVE's version. Any valid token may.
func (v *View) Version(ctx context.Context) (Version, error) {
	w, r, err := read[struct{ Version, Release, RepoID text }](ctx, v, "/version", nil)
	if err == nil && w.Version == "" {
		err = r.fault("it has no version")
	}
	return Version{string(w.Version), string(w.Release), string(w.RepoID)}, err
}

// Node is one node of the list of nodes. What follows the fingerprint is 0 for a
// node that is not online, and without Sys.Audit on it.
type Node struct {
	Name        string
	Status      string  // online, offline or unknown
	Fingerprint string  // SHA-256 of its certificate, AA:BB:…
	CPU         float64 // share of its CPUs in use, 0 to 1
	CPUs        int
	Mem, MaxMem Size
	Uptime      time.Duration
}

// Nodes lists the nodes of the cluster.
func (v *View) Nodes(ctx context.Context) ([]Node, error) {
	w, r, err := read[[]struct {
		Node, Status                text
		Fingerprint                 text `json:"ssl_fingerprint"`
		CPU                         decimal
		MaxCPU, Mem, MaxMem, Uptime number
	}](ctx, v, "/nodes", nil)
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, 0, len(w))
	for _, n := range w {
		if n.Node == "" {
			return nil, r.fault("a node has no name")
		}
		nodes = append(nodes, Node{
			Name: string(n.Node), Status: string(n.Status), Fingerprint: string(n.Fingerprint),
			CPU: float64(n.CPU), CPUs: int(n.MaxCPU), Mem: Size(n.Mem), MaxMem: Size(n.MaxMem), Uptime: seconds(n.Uptime),
		})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// Usage is how full something is. Avail is 0 where PVE does not tell it apart
// from Free.
type Usage struct{ Total, Used, Free, Avail Size }

// NodeStatus is the state of one node.
type NodeStatus struct {
	PVEVersion   string // pve-manager/9.2.11/…
	Kernel       string
	Uptime       time.Duration
	CPU          float64 // share of its CPUs in use, 0 to 1
	CPUs         int
	CPUModel     string
	LoadAvg      [3]float64 // over 1, 5 and 15 minutes
	Memory, Swap Usage
	RootFS       Usage
}

// NodeStatus asks for a node's state. Needs Sys.Audit on the node.
func (v *View) NodeStatus(ctx context.Context, node string) (NodeStatus, error) {
	type usage struct{ Total, Used, Free, Avail, Available number }
	w, _, err := read[struct {
		PVEVersion, KVersion text
		Uptime               number
		CPU                  decimal
		LoadAvg              []decimal
		CPUInfo              struct {
			CPUs  number
			Model text
		}
		Memory, Swap, RootFS usage
	}](ctx, v, "/nodes/"+node+"/status", nil)
	if err != nil {
		return NodeStatus{}, err
	}
	of := func(u usage) Usage {
		return Usage{Size(u.Total), Size(u.Used), Size(u.Free), Size(max(u.Avail, u.Available))}
	}
	s := NodeStatus{
		PVEVersion: string(w.PVEVersion), Kernel: string(w.KVersion), Uptime: seconds(w.Uptime),
		CPU: float64(w.CPU), CPUs: int(w.CPUInfo.CPUs), CPUModel: string(w.CPUInfo.Model),
		Memory: of(w.Memory), Swap: of(w.Swap), RootFS: of(w.RootFS),
	}
	for i, load := range w.LoadAvg {
		if i < len(s.LoadAvg) {
			s.LoadAvg[i] = float64(load)
		}
	}
	return s, nil
}

// ClusterNode is one node as the cluster sees it.
type ClusterNode struct {
	Name, IP string
	Online   bool
	Local    bool // it is the node that answers
}

// ClusterStatus is the cluster's membership. A node without a cluster is alone
// in Nodes, has no Name and is always Quorate.
type ClusterStatus struct {
	Name    string
	Quorate bool
	Nodes   []ClusterNode
}

// Local is the name of the node that answers the API.
func (s ClusterStatus) Local() string {
	for _, n := range s.Nodes {
		if n.Local {
			return n.Name
		}
	}
	return ""
}

// ClusterStatus asks for the cluster's membership. Needs Sys.Audit on /.
func (v *View) ClusterStatus(ctx context.Context) (ClusterStatus, error) {
	w, _, err := read[[]struct {
		Type, Name, IP         text
		Online, Local, Quorate flag
	}](ctx, v, "/cluster/status", nil)
	if err != nil {
		return ClusterStatus{}, err
	}
	s := ClusterStatus{Quorate: true}
	for _, e := range w {
		switch e.Type {
		case "cluster":
			s.Name, s.Quorate = string(e.Name), bool(e.Quorate)
		case "node":
			s.Nodes = append(s.Nodes, ClusterNode{string(e.Name), string(e.IP), bool(e.Online), bool(e.Local)})
		}
	}
	slices.SortFunc(s.Nodes, func(a, b ClusterNode) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// Permissions are a token's effective privileges by path; the value tells
// whether they reach to the paths below.
type Permissions map[string]map[string]bool

// Permissions asks for the token's own privileges. Any token may. PVE lists
// the tops of its tree and all paths that any ACL entry or pool names, but leaves
// out those on which the token has nothing (PVE: RPCEnvironment,
// get_effective_permissions). The paths given here are asked for one by one and
// are never missing in the result, so that Has is certain of them.
func (v *View) Permissions(ctx context.Context, paths ...string) (Permissions, error) {
	permissions, err := v.permissions(ctx, nil)
	for _, path := range paths {
		if err != nil {
			return nil, err
		}
		var exact Permissions
		if exact, err = v.permissions(ctx, Params{"path": path}); err == nil {
			permissions[path] = exact[path]
		}
	}
	return permissions, err
}

func (v *View) permissions(ctx context.Context, params Params) (Permissions, error) {
	shared, err := readAs(ctx, v, "/access/permissions", params, func(w map[string]map[string]flag, _ *reply) (Permissions, error) {
		permissions := make(Permissions, len(w))
		for path, privileges := range w {
			m := make(map[string]bool, len(privileges))
			for privilege, propagate := range privileges {
				m[privilege] = bool(propagate)
			}
			permissions[path] = m
		}
		return permissions, nil
	})
	permissions := maps.Clone(shared)
	for path, privileges := range shared {
		permissions[path] = maps.Clone(privileges)
	}
	return permissions, err
}

// ACLEntry gives a role on a path to a user, a group or a token.
type ACLEntry struct {
	Path      string
	Type      string // user, group or token
	ID        string // of the user, group or token
	Role      string
	Propagate bool
}

// ACL lists the access control list, as far as the token may see it. Any token may ask.
func (v *View) ACL(ctx context.Context) ([]ACLEntry, error) {
	w, _, err := read[[]struct {
		Path, Type, UGID, RoleID text
		Propagate                flag
	}](ctx, v, "/access/acl", nil)
	entries := make([]ACLEntry, len(w))
	for i, e := range w {
		entries[i] = ACLEntry{string(e.Path), string(e.Type), string(e.UGID), string(e.RoleID), bool(e.Propagate)}
	}
	return entries, err
}

// tops are the paths that PVE always lists, unless the token has nothing there.
var tops = []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}

// Has tells whether the token has a privilege on a path. An entry for the path
// itself replaces what it would inherit; without one the nearest path above
// that hands anything down decides (PVE: AccessControl, roles). A path that an
// ACL entry shuts the token out of looks like one without an entry, unless
// View.Permissions was given it.
func (p Permissions) Has(path, privilege string) bool {
	if own, ok := p[path]; ok {
		_, has := own[privilege]
		return has
	}
	for path != "/" && path != "" {
		if p[path] == nil && slices.Contains(tops, path) {
			return false // left out: there is nothing to hand down
		}
		path = cmp.Or(path[:max(strings.LastIndex(path, "/"), 0)], "/")
		above, listed := p[path]
		switch {
		case above[privilege]:
			return true
		case listed && len(above) == 0, slices.Contains(slices.Collect(maps.Values(above)), true):
			return false
		}
	}
	return false
}

// TokenInfo is what PVE knows about a token.
type TokenInfo struct {
	ID      string // felhom@pve!agent
	Comment string
	// PrivSep: the token has only those of its user's privileges that are also
	// given to itself.
	PrivSep bool
	// Expire is when it, or its user, ceases to work, whichever comes first;
	// the zero time if never. PVE then answers like to a wrong secret.
	Expire      time.Time
	UserEnabled bool
}

// TokenInfo asks for a token's entry at its user. A token may read its own
// user's.
func (v *View) TokenInfo(ctx context.Context, tokenID string) (TokenInfo, error) {
	user, name, _ := strings.Cut(tokenID, "!")
	type token struct {
		TokenID, Comment text
		Expire           number
		PrivSep          *flag
	}
	w, r, err := read[struct {
		Expire number
		Enable *flag
		Tokens json.RawMessage
	}](ctx, v, "/access/users/"+user, nil)
	if err != nil {
		return TokenInfo{}, err
	}
	// An object by name here, an array in the list of users.
	byName := map[string]token{}
	if len(w.Tokens) > 0 && json.Unmarshal(w.Tokens, &byName) != nil {
		var array []token
		if err := json.Unmarshal(w.Tokens, &array); err != nil {
			return TokenInfo{}, r.fault("its tokens: %v", err)
		}
		for _, t := range array {
			byName[string(t.TokenID)] = t
		}
	}
	t, ok := byName[name]
	if !ok {
		return TokenInfo{}, r.fault("user %s has no token %s", user, name)
	}
	expire := t.Expire
	if w.Expire != 0 && (expire == 0 || w.Expire < expire) {
		expire = w.Expire
	}
	return TokenInfo{
		ID: tokenID, Comment: string(t.Comment), Expire: unix(expire),
		PrivSep:     t.PrivSep == nil || bool(*t.PrivSep),
		UserEnabled: w.Enable == nil || bool(*w.Enable),
	}, nil
}
