package accounts

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// What an administrator does to users, roles, tokens, rights and pools.

// GetRealm answers GET /access/domains/{realm}.
func GetRealm(c *request.Call) error {
	switch c.Param("realm") {
	case "pam":
		c.Data().Open().Str("type", "pam").Str("comment", "Linux PAM standard authentication").Close()
	case "pve":
		c.Data().Open().Str("type", "pve").Str("comment", "Proxmox VE authentication server").Close()
	default:
		return refusal.Fail("domain '%s' does not exist", c.Param("realm"))
	}
	return nil
}

// GetGroup answers GET /access/groups/{groupid}.
func GetGroup(c *request.Call) error {
	users, ok := c.Cluster.World.Access.Groups[c.Param("groupid")]
	if !ok {
		return refusal.Fail("group '%s' does not exist", c.Param("groupid"))
	}
	d := c.Data().Open().Key("members").List()
	for _, u := range users {
		d.Text(u)
	}
	d.End().Close()
	return nil
}

// SetGroup answers POST /access/groups and PUT /access/groups/{groupid}.
func SetGroup(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("groupid")
	_, ok := a.Groups[id]
	switch {
	case c.Method == "POST" && ok:
		return refusal.Fail("create group failed: group '%s' already exists", id)
	case c.Method == "PUT" && !ok:
		return refusal.Fail("update group failed: group '%s' does not exist", id)
	case c.Method == "POST":
		if a.Groups == nil {
			a.Groups = make(map[string][]string)
		}
		a.Groups[id] = nil
	}
	return nil
}

// DeleteGroup answers DELETE /access/groups/{groupid}.
func DeleteGroup(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("groupid")
	if _, ok := a.Groups[id]; !ok {
		return refusal.Fail("delete group failed: group '%s' does not exist", id)
	}
	delete(a.Groups, id)
	a.Drop(func(e world.ACLEntry) bool { return e.Type == "group" && e.ID == id })
	c.Cluster.Rights.Dirty()
	return nil
}

// SetPassword answers PUT /access/password.
func SetPassword(c *request.Call) error {
	u := c.Cluster.World.Access.User(c.Param("userid"))
	if u == nil {
		return refusal.Fail("no such user ('%s')", c.Param("userid"))
	}
	u.Password = c.Param("password")
	return nil
}

// GetRole answers GET /access/roles/{roleid}.
func GetRole(c *request.Call) error {
	id := c.Param("roleid")
	if !rights.IsRole(&c.Cluster.Rights, id) {
		return refusal.Fail("role '%s' does not exist", id)
	}
	d := c.Data().Open()
	for _, p := range c.Cluster.Rights.Privileges(id) {
		d.Num(p, 1)
	}
	d.Close()
	return nil
}

// SetRole answers POST /access/roles and PUT /access/roles/{roleid}.
func SetRole(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("roleid")
	if strings.HasPrefix(strings.ToUpper(id), "PVE") && c.Method == "POST" {
		return refusal.BadParam("roleid", "role ID may not start with 'PVE' (reserved for built-in roles)")
	}
	own, ok := a.Roles[id]
	switch {
	case c.Method == "POST" && rights.IsRole(&c.Cluster.Rights, id):
		return refusal.Fail("create role failed: role '%s' already exists", id)
	case c.Method == "PUT" && !rights.IsRole(&c.Cluster.Rights, id):
		return refusal.Fail("update role failed: role '%s' does not exist", id)
	case c.Method == "PUT" && !ok:
		return refusal.Fail("update role failed: auto-generated role '%s' cannot be modified", id)
	}
	privs := notation.SplitList(c.Param("privs"))
	for _, p := range privs {
		if !slices.Contains(rights.AllPrivileges, p) {
			return refusal.Fail("update role failed: invalid privilege '%s'", p)
		}
	}
	if c.Flag("append") {
		for _, p := range own {
			if !slices.Contains(privs, p) {
				privs = append(privs, p)
			}
		}
	}
	sort.Strings(privs)
	if a.Roles == nil {
		a.Roles = make(map[string][]string)
	}
	a.Roles[id] = privs
	c.Cluster.Rights.Dirty()
	return nil
}

// DeleteRole answers DELETE /access/roles/{roleid}.
func DeleteRole(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("roleid")
	if _, ok := a.Roles[id]; !ok {
		return refusal.Fail("delete role failed: role '%s' does not exist", id)
	}
	delete(a.Roles, id)
	a.Drop(func(e world.ACLEntry) bool { return e.Role == id })
	c.Cluster.Rights.Dirty()
	return nil
}

// SetACL adds or removes entries of the ACL.
func SetACL(c *request.Call) error {
	a, path := &c.Cluster.World.Access, c.Param("path")
	if !strings.HasPrefix(path, "/") {
		return refusal.BadParam("path", "invalid ACL path '"+path+"'")
	}
	path = "/" + strings.Trim(path, "/")
	for _, role := range notation.SplitList(c.Param("roles")) {
		if !rights.IsRole(&c.Cluster.Rights, role) {
			return refusal.Fail("update ACL failed: role '%s' does not exist", role)
		}
		for _, kind := range []string{"user", "group", "token"} {
			for _, id := range notation.SplitList(c.Param(kind + "s")) {
				switch {
				case kind == "user" && a.User(id) == nil:
					return refusal.Fail("update ACL failed: user '%s' does not exist", id)
				case kind == "token" && c.Cluster.Rights.Subject(id) == nil:
					return refusal.Fail("update ACL failed: no such token '%s'", id)
				}
				a.Drop(func(e world.ACLEntry) bool { return e.Path == path && e.Type == kind && e.ID == id && e.Role == role })
				if !c.Flag("delete") {
					a.ACL = append(a.ACL, world.ACLEntry{Path: path, Type: kind, ID: id, Role: role, Here: c.Param("propagate") == "0"})
				}
			}
		}
	}
	c.Cluster.Rights.Dirty()
	return nil
}

// SetUser answers POST /access/users and PUT /access/users/{userid}.
func SetUser(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("userid")
	u := a.User(id)
	switch {
	case c.Method == "POST" && u != nil:
		return refusal.Fail("create user failed: user '%s' already exists", id)
	case c.Method == "PUT" && u == nil:
		return refusal.Fail("update user failed: no such user ('%s')", id)
	case u == nil:
		u = &world.User{ID: id}
		a.Users = append(a.Users, u)
	}
	for k, v := range c.Params {
		v := v
		switch k {
		case "comment":
			u.Comment = v
		case "email":
			u.Email = &v
		case "enable":
			u.Disabled = v == "0"
		case "expire":
			u.Expire, _ = strconv.ParseInt(v, 10, 64)
		case "password":
			u.Password = v
		case "groups":
			for _, g := range notation.SplitList(v) {
				if members, ok := a.Groups[g]; ok && !slices.Contains(members, id) {
					a.Groups[g] = append(members, id)
				}
			}
		}
	}
	c.Cluster.Rights.Dirty()
	return nil
}

// DeleteUser answers DELETE /access/users/{userid}.
func DeleteUser(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("userid")
	for i, u := range a.Users {
		if u.ID == id {
			a.Users = append(a.Users[:i:i], a.Users[i+1:]...)
			a.Drop(func(e world.ACLEntry) bool { return e.ID == id || strings.HasPrefix(e.ID, id+"!") })
			c.Cluster.Rights.Dirty()
			return nil
		}
	}
	return refusal.Fail("delete user failed: no such user ('%s')", id)
}
