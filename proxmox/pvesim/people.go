package pvesim

import (
	"crypto/sha256"
	"encoding/hex"
	"sort"
	"strings"
)

func userRealm(id string) string {
	_, realm, _ := strings.Cut(id, "@")
	return realm
}

func (c *call) writeUser(u *user) {
	d := c.data().open()
	d.str("userid", u.ID).num("expire", u.Expire).flag("enable", !u.Disabled)
	if realm := userRealm(u.ID); realm == "pam" || realm == "pve" {
		d.str("realm-type", realm)
	}
	if u.Comment != "" {
		d.str("comment", u.Comment)
	}
	if u.Email != nil {
		d.str("email", *u.Email)
	}
	d.close()
}

func accessUsers(c *call) error {
	all := c.s.can(c.who, "/access/groups", "User.Modify") || c.s.can(c.who, "/access/groups", "Sys.Audit")
	d := c.data().list()
	for _, u := range c.s.w.Access.Users {
		if !all && u.ID != c.who.user.ID || c.has("enabled") && c.flag("enabled") == u.Disabled {
			continue
		}
		c.writeUser(u)
	}
	d.end()
	return nil
}

// userOf is the user of the path.
func (c *call) userOf() (*user, error) {
	for _, u := range c.s.w.Access.Users {
		if u.ID == c.param("userid") {
			return u, nil
		}
	}
	return nil, fail("no such user ('%s')", c.param("userid"))
}

func accessUser(c *call) error {
	u, err := c.userOf()
	if err != nil {
		return err
	}
	d := c.data().open()
	d.flag("enable", !u.Disabled).num("expire", u.Expire)
	if u.Email != nil {
		d.str("email", *u.Email)
	}
	if u.Comment != "" {
		d.str("comment", u.Comment)
	}
	d.key("groups").list()
	for _, g := range sortedKeys(c.s.w.Access.Groups) {
		if contains(c.s.w.Access.Groups[g], u.ID) {
			d.text(g)
		}
	}
	d.end()
	if len(u.Tokens) == 0 {
		d.null("tokens").close()
		return nil
	}
	d.key("tokens").open()
	for _, t := range u.Tokens {
		d.key(t.ID).open()
		d.token(t)
		d.close()
	}
	d.close().close()
	return nil
}

func (d *doc) token(t *token) {
	d.num("expire", t.Expire).flag("privsep", !t.Full)
	if t.Comment != "" {
		d.str("comment", t.Comment)
	}
}

func accessTokens(c *call) error {
	u, err := c.userOf()
	if err != nil {
		return err
	}
	d := c.data().list()
	for _, t := range u.Tokens {
		d.open().str("tokenid", t.ID)
		d.token(t)
		d.close()
	}
	d.end()
	return nil
}

func accessRoles(c *call) error {
	names := append(sortedKeys(c.s.w.Access.Roles), "Administrator", "NoAccess", "PVEAdmin", "PVEAuditor", "PVEVMUser")
	sort.Strings(names)
	d := c.data().list()
	for _, name := range names {
		_, own := c.s.w.Access.Roles[name]
		d.open().str("roleid", name).str("privs", strings.Join(c.s.acl.privileges(name), ",")).flag("special", !own).close()
	}
	d.end()
	return nil
}

func accessGroups(c *call) error {
	d := c.data().list()
	if c.s.can(c.who, "/access/groups", "Sys.Audit") {
		for _, g := range sortedKeys(c.s.w.Access.Groups) {
			d.open().str("groupid", g).str("users", strings.Join(c.s.w.Access.Groups[g], ",")).close()
		}
	}
	d.end()
	return nil
}

func accessACL(c *call) error {
	d := c.data().list()
	if c.s.can(c.who, "/access", "Sys.Audit") {
		for _, e := range c.s.w.Access.ACL {
			d.open().str("path", e.Path).str("type", e.Type).str("ugid", e.ID).str("roleid", e.Role).flag("propagate", !e.Here).close()
		}
	}
	d.end()
	return nil
}

func aclPerm(c *call) error {
	return c.s.need(c.who, c.param("path"), "Permissions.Modify")
}

func accessDomains(c *call) error {
	d := c.data().list()
	d.open().str("realm", "pam").str("type", "pam").str("comment", "Linux PAM standard authentication").close()
	d.open().str("realm", "pve").str("type", "pve").str("comment", "Proxmox VE authentication server").close()
	d.end()
	return nil
}

// accessTicket logs a person in.
func accessTicket(c *call) error {
	s, name := c.s, c.param("username")
	if realm := c.param("realm"); realm != "" && !strings.Contains(name, "@") {
		name += "@" + realm
	}
	for _, u := range s.w.Access.Users {
		if u.ID != name || u.Password == "" || u.Password != c.param("password") || u.Disabled {
			continue
		}
		sum := sha256.Sum256([]byte(name + s.now.String() + itoa(len(s.tickets))))
		ticket := "PVE:" + name + ":" + strings.ToUpper(hex.EncodeToString(sum[:4])) + "::" + hex.EncodeToString(sum[4:])
		s.tickets[ticket] = name
		c.data().open().str("username", name).str("ticket", ticket).str("CSRFPreventionToken", csrfToken(ticket)).close()
		return nil
	}
	if err := s.sleepUntil(c.ctx, s.now.Add(s.authDelay), nil); err != nil {
		return err
	}
	return &refusal{code: 401, text: "authentication failure"}
}

func csrfToken(ticket string) string {
	sum := sha256.Sum256([]byte("csrf " + ticket))
	return strings.ToUpper(hex.EncodeToString(sum[:4])) + ":" + hex.EncodeToString(sum[4:20])
}

func pools(c *call) error {
	d := c.data().list()
	for _, p := range c.s.w.Pools {
		if id := c.param("poolid"); id != "" && id != p.ID || !c.s.can(c.who, "/pool/"+p.ID, "Pool.Audit") {
			continue
		}
		d.open().str("poolid", p.ID)
		if p.Comment != "" {
			d.str("comment", p.Comment)
		}
		if c.param("poolid") != "" {
			d.key("members").list()
			for _, id := range p.VMs {
				if g := c.s.guests[id]; g != nil {
					c.s.resource(d, nil, g)
				}
			}
			d.end()
		}
		d.close()
	}
	d.end()
	return nil
}

func poolGet(c *call) error {
	id := c.param("poolid")
	if err := c.s.need(c.who, "/pool/"+id, "Pool.Audit"); err != nil {
		return err
	}
	for _, p := range c.s.w.Pools {
		if p.ID != id {
			continue
		}
		d := c.data().open().str("comment", p.Comment).key("members").list()
		for _, v := range p.VMs {
			if g := c.s.guests[v]; g != nil {
				d.open().str("id", "lxc/"+itoa(v)).str("type", "lxc").num("vmid", int64(v)).str("node", g.Node).close()
			}
		}
		for _, st := range p.Storages {
			d.open().str("id", "storage/"+c.s.w.Nodes[0].Name+"/"+st).str("type", "storage").str("storage", st).close()
		}
		d.end().close()
		return nil
	}
	return fail("pool '%s' does not exist", id)
}
