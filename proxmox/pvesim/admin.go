package pvesim

import (
	"crypto/sha1"
	"encoding/hex"
	"sort"
	"strconv"
	"strings"
)

// What an administrator does to users, roles, tokens, rights and pools.

func realmGet(c *call) error {
	switch c.param("realm") {
	case "pam":
		c.data().open().str("type", "pam").str("comment", "Linux PAM standard authentication").close()
	case "pve":
		c.data().open().str("type", "pve").str("comment", "Proxmox VE authentication server").close()
	default:
		return fail("domain '%s' does not exist", c.param("realm"))
	}
	return nil
}

func groupGet(c *call) error {
	users, ok := c.s.w.Access.Groups[c.param("groupid")]
	if !ok {
		return fail("group '%s' does not exist", c.param("groupid"))
	}
	d := c.data().open().key("members").list()
	for _, u := range users {
		d.text(u)
	}
	d.end().close()
	return nil
}

func groupSet(c *call) error {
	a, id := &c.s.w.Access, c.param("groupid")
	_, ok := a.Groups[id]
	switch {
	case c.method == "POST" && ok:
		return fail("create group failed: group '%s' already exists", id)
	case c.method == "PUT" && !ok:
		return fail("update group failed: group '%s' does not exist", id)
	case c.method == "POST":
		if a.Groups == nil {
			a.Groups = make(map[string][]string)
		}
		a.Groups[id] = nil
	}
	return nil
}

func groupDelete(c *call) error {
	a, id := &c.s.w.Access, c.param("groupid")
	if _, ok := a.Groups[id]; !ok {
		return fail("delete group failed: group '%s' does not exist", id)
	}
	delete(a.Groups, id)
	a.drop(func(e aclEntry) bool { return e.Type == "group" && e.ID == id })
	c.s.acl.dirty()
	return nil
}

// drop takes entries out of the ACL.
func (a *access) drop(gone func(aclEntry) bool) {
	kept := a.ACL[:0:0]
	for _, e := range a.ACL {
		if !gone(e) {
			kept = append(kept, e)
		}
	}
	a.ACL = kept
}

func (a *access) user(id string) *user {
	for _, u := range a.Users {
		if u.ID == id {
			return u
		}
	}
	return nil
}

func (u *user) find(id string) *token {
	for _, t := range u.Tokens {
		if t.ID == id {
			return t
		}
	}
	return nil
}

func passwordSet(c *call) error {
	u := c.s.w.Access.user(c.param("userid"))
	if u == nil {
		return fail("no such user ('%s')", c.param("userid"))
	}
	u.Password = c.param("password")
	return nil
}

func isRole(a *acl, id string) bool {
	_, own := a.s.w.Access.Roles[id]
	return own || id == "NoAccess" || a.privileges(id) != nil
}

func roleGet(c *call) error {
	id := c.param("roleid")
	if !isRole(&c.s.acl, id) {
		return fail("role '%s' does not exist", id)
	}
	d := c.data().open()
	for _, p := range c.s.acl.privileges(id) {
		d.num(p, 1)
	}
	d.close()
	return nil
}

func roleSet(c *call) error {
	a, id := &c.s.w.Access, c.param("roleid")
	if strings.HasPrefix(strings.ToUpper(id), "PVE") && c.method == "POST" {
		return badParam("roleid", "role ID may not start with 'PVE' (reserved for built-in roles)")
	}
	own, ok := a.Roles[id]
	switch {
	case c.method == "POST" && isRole(&c.s.acl, id):
		return fail("create role failed: role '%s' already exists", id)
	case c.method == "PUT" && !isRole(&c.s.acl, id):
		return fail("update role failed: role '%s' does not exist", id)
	case c.method == "PUT" && !ok:
		return fail("update role failed: auto-generated role '%s' cannot be modified", id)
	}
	privs := splitList(c.param("privs"))
	for _, p := range privs {
		if !contains(allPrivileges, p) {
			return fail("update role failed: invalid privilege '%s'", p)
		}
	}
	if c.flag("append") {
		for _, p := range own {
			if !contains(privs, p) {
				privs = append(privs, p)
			}
		}
	}
	sort.Strings(privs)
	if a.Roles == nil {
		a.Roles = make(map[string][]string)
	}
	a.Roles[id] = privs
	c.s.acl.dirty()
	return nil
}

func roleDelete(c *call) error {
	a, id := &c.s.w.Access, c.param("roleid")
	if _, ok := a.Roles[id]; !ok {
		return fail("delete role failed: role '%s' does not exist", id)
	}
	delete(a.Roles, id)
	a.drop(func(e aclEntry) bool { return e.Role == id })
	c.s.acl.dirty()
	return nil
}

// aclSet adds or removes entries of the ACL.
func aclSet(c *call) error {
	a, path := &c.s.w.Access, c.param("path")
	if !strings.HasPrefix(path, "/") {
		return badParam("path", "invalid ACL path '"+path+"'")
	}
	path = "/" + strings.Trim(path, "/")
	for _, role := range splitList(c.param("roles")) {
		if !isRole(&c.s.acl, role) {
			return fail("update ACL failed: role '%s' does not exist", role)
		}
		for _, kind := range []string{"user", "group", "token"} {
			for _, id := range splitList(c.param(kind + "s")) {
				switch {
				case kind == "user" && a.user(id) == nil:
					return fail("update ACL failed: user '%s' does not exist", id)
				case kind == "token" && c.s.acl.subject(id) == nil:
					return fail("update ACL failed: no such token '%s'", id)
				}
				a.drop(func(e aclEntry) bool { return e.Path == path && e.Type == kind && e.ID == id && e.Role == role })
				if !c.flag("delete") {
					a.ACL = append(a.ACL, aclEntry{Path: path, Type: kind, ID: id, Role: role, Here: c.param("propagate") == "0"})
				}
			}
		}
	}
	c.s.acl.dirty()
	return nil
}

func userSet(c *call) error {
	a, id := &c.s.w.Access, c.param("userid")
	u := a.user(id)
	switch {
	case c.method == "POST" && u != nil:
		return fail("create user failed: user '%s' already exists", id)
	case c.method == "PUT" && u == nil:
		return fail("update user failed: no such user ('%s')", id)
	case u == nil:
		u = &user{ID: id}
		a.Users = append(a.Users, u)
	}
	for k, v := range c.params {
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
			for _, g := range splitList(v) {
				if members, ok := a.Groups[g]; ok && !contains(members, id) {
					a.Groups[g] = append(members, id)
				}
			}
		}
	}
	c.s.acl.dirty()
	return nil
}

func userDelete(c *call) error {
	a, id := &c.s.w.Access, c.param("userid")
	for i, u := range a.Users {
		if u.ID == id {
			a.Users = append(a.Users[:i:i], a.Users[i+1:]...)
			a.drop(func(e aclEntry) bool { return e.ID == id || strings.HasPrefix(e.ID, id+"!") })
			c.s.acl.dirty()
			return nil
		}
	}
	return fail("delete user failed: no such user ('%s')", id)
}

func tokenGet(c *call) error {
	u := c.s.w.Access.user(c.param("userid"))
	if u == nil {
		return fail("no such user ('%s')", c.param("userid"))
	}
	t := u.find(c.param("tokenid"))
	if t == nil {
		return fail("no such token '%s' for user '%s'", c.param("tokenid"), u.ID)
	}
	d := c.data().open()
	d.token(t)
	d.close()
	return nil
}

// tokenSet makes a token, whose secret is shown this once, or changes one.
func tokenSet(c *call) error {
	s, id := c.s, c.param("tokenid")
	u := s.w.Access.user(c.param("userid"))
	if u == nil {
		return fail("no such user ('%s')", c.param("userid"))
	}
	t := u.find(id)
	made := c.method == "POST"
	switch {
	case made && t != nil:
		return badParam("tokenid", "Token already exists.")
	case !made && t == nil:
		return fail("no such token '%s' for user '%s'", id, u.ID)
	case made:
		t = &token{ID: id}
		u.Tokens = append(u.Tokens, t)
	}
	if made || c.flag("regenerate") {
		sum := sha1.Sum([]byte("token " + u.ID + id + itoa(s.serial())))
		h := hex.EncodeToString(sum[:16])
		t.Secret = h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	if v, ok := c.params["comment"]; ok {
		t.Comment = v
	}
	if v, ok := c.params["expire"]; ok {
		t.Expire, _ = strconv.ParseInt(v, 10, 64)
	}
	if v, ok := c.params["privsep"]; ok {
		t.Full = v == "0"
	}
	s.acl.dirty()
	d := c.data().open()
	if made {
		d.str("full-tokenid", u.ID+"!"+id).str("value", t.Secret).key("info").open()
		if t.Comment != "" {
			d.str("comment", t.Comment)
		}
		if c.has("expire") {
			d.str("expire", c.param("expire"))
		}
		d.str("privsep", map[bool]string{true: "0", false: "1"}[t.Full]).close()
	} else {
		d.token(t)
		if c.flag("regenerate") {
			d.str("value", t.Secret)
		}
	}
	d.close()
	return nil
}

func tokenDelete(c *call) error {
	a, id := &c.s.w.Access, c.param("tokenid")
	u := a.user(c.param("userid"))
	if u == nil || u.find(id) == nil {
		return fail("no such token '%s' for user '%s'", id, c.param("userid"))
	}
	for i, t := range u.Tokens {
		if t.ID == id {
			u.Tokens = append(u.Tokens[:i:i], u.Tokens[i+1:]...)
			break
		}
	}
	a.drop(func(e aclEntry) bool { return e.ID == u.ID+"!"+id })
	c.s.acl.dirty()
	return nil
}

// poolSet makes a pool, or adds members to it and takes them out.
func poolSet(c *call) error {
	s, id := c.s, c.param("poolid")
	p := s.pool(id)
	switch {
	case c.method == "POST" && p != nil:
		return fail("create pool failed: pool '%s' already exists", id)
	case c.method == "PUT" && p == nil:
		return fail("update pools failed: pool '%s' does not exist", id)
	case p == nil:
		p = &pool{ID: id}
		s.w.Pools = append(s.w.Pools, p)
	}
	if v, ok := c.params["comment"]; ok {
		p.Comment = v
	}
	for _, v := range splitList(c.param("vms")) {
		vmid := atoi(v)
		in := contains(p.VMs, vmid)
		switch {
		case c.flag("delete") && !in:
			return fail("update pools failed: VM %d is not a pool member", vmid)
		case c.flag("delete"):
			p.VMs = minus(p.VMs, vmid)
		case s.guests[vmid] == nil:
			return fail("update pools failed: VM %d does not exist", vmid)
		case in:
			return fail("update pools failed: VM %d is already a pool member", vmid)
		default:
			p.VMs = append(p.VMs, vmid)
		}
	}
	for _, st := range splitList(c.param("storage")) {
		if c.flag("delete") {
			p.Storages = minus(p.Storages, st)
		} else if !contains(p.Storages, st) {
			p.Storages = append(p.Storages, st)
		}
	}
	s.acl.dirty()
	return nil
}

func minus[T comparable](list []T, v T) []T {
	kept := list[:0:0]
	for _, x := range list {
		if x != v {
			kept = append(kept, x)
		}
	}
	return kept
}

func poolDelete(c *call) error {
	for i, p := range c.s.w.Pools {
		if p.ID != c.param("poolid") {
			continue
		}
		if len(p.VMs)+len(p.Storages) > 0 {
			return fail("delete pool failed: pool '%s' is not empty", p.ID)
		}
		c.s.w.Pools = append(c.s.w.Pools[:i:i], c.s.w.Pools[i+1:]...)
		c.s.acl.dirty()
		return nil
	}
	return fail("delete pool failed: pool '%s' does not exist", c.param("poolid"))
}
