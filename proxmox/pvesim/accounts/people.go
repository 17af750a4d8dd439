// Package accounts answers the requests below /access: users, tokens, groups, roles, ACL, tickets,
// permissions.
package accounts

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// RealmOf is the realm in a user's ID: what stands behind the last @.
func RealmOf(id string) string {
	_, realm, _ := strings.Cut(id, "@")
	return realm
}

func writeUser(c *request.Call, u *world.User) {
	d := c.Data().Open()
	d.Str("userid", u.ID).Num("expire", u.Expire).Flag("enable", !u.Disabled)
	if realm := RealmOf(u.ID); realm == "pam" || realm == "pve" {
		d.Str("realm-type", realm)
	}
	if u.Comment != "" {
		d.Str("comment", u.Comment)
	}
	if u.Email != nil {
		d.Str("email", *u.Email)
	}
	d.Close()
}

// Users answers GET /access/users.
func Users(c *request.Call) error {
	all := c.Cluster.Rights.Can(c.Who, "/access/groups", "User.Modify") || c.Cluster.Rights.Can(c.Who, "/access/groups", "Sys.Audit")
	d := c.Data().List()
	for _, u := range c.Cluster.World.Access.Users {
		if !all && u.ID != c.Who.User.ID || c.Has("enabled") && c.Flag("enabled") == u.Disabled {
			continue
		}
		writeUser(c, u)
	}
	d.End()
	return nil
}

// userOf is the user of the path.
func userOf(c *request.Call) (*world.User, error) {
	for _, u := range c.Cluster.World.Access.Users {
		if u.ID == c.Param("userid") {
			return u, nil
		}
	}
	return nil, refusal.Fail("no such user ('%s')", c.Param("userid"))
}

// GetUser answers GET /access/users/{userid}.
func GetUser(c *request.Call) error {
	u, err := userOf(c)
	if err != nil {
		return err
	}
	d := c.Data().Open()
	d.Flag("enable", !u.Disabled).Num("expire", u.Expire)
	if u.Email != nil {
		d.Str("email", *u.Email)
	}
	if u.Comment != "" {
		d.Str("comment", u.Comment)
	}
	d.Key("groups").List()
	for _, g := range slices.Sorted(maps.Keys(c.Cluster.World.Access.Groups)) {
		if slices.Contains(c.Cluster.World.Access.Groups[g], u.ID) {
			d.Text(g)
		}
	}
	d.End()
	if len(u.Tokens) == 0 {
		d.Null("tokens").Close()
		return nil
	}
	d.Key("tokens").Open()
	for _, t := range u.Tokens {
		d.Key(t.ID).Open()
		tokenFields(d, t)
		d.Close()
	}
	d.Close().Close()
	return nil
}

func tokenFields(d *jsontext.Doc, t *world.Token) {
	d.Num("expire", t.Expire).Flag("privsep", !t.Full)
	if t.Comment != "" {
		d.Str("comment", t.Comment)
	}
}

// Tokens answers GET /access/users/{userid}/token.
func Tokens(c *request.Call) error {
	u, err := userOf(c)
	if err != nil {
		return err
	}
	d := c.Data().List()
	for _, t := range u.Tokens {
		d.Open().Str("tokenid", t.ID)
		tokenFields(d, t)
		d.Close()
	}
	d.End()
	return nil
}

// Roles answers GET /access/roles.
func Roles(c *request.Call) error {
	names := append(slices.Sorted(maps.Keys(c.Cluster.World.Access.Roles)), "Administrator", "NoAccess", "PVEAdmin", "PVEAuditor", "PVEVMUser")
	sort.Strings(names)
	d := c.Data().List()
	for _, name := range names {
		_, own := c.Cluster.World.Access.Roles[name]
		d.Open().Str("roleid", name).Str("privs", strings.Join(c.Cluster.Rights.Privileges(name), ",")).Flag("special", !own).Close()
	}
	d.End()
	return nil
}

// Groups answers GET /access/groups.
func Groups(c *request.Call) error {
	d := c.Data().List()
	if c.Cluster.Rights.Can(c.Who, "/access/groups", "Sys.Audit") {
		for _, g := range slices.Sorted(maps.Keys(c.Cluster.World.Access.Groups)) {
			d.Open().Str("groupid", g).Str("users", strings.Join(c.Cluster.World.Access.Groups[g], ",")).Close()
		}
	}
	d.End()
	return nil
}

// ListACL answers GET /access/acl.
func ListACL(c *request.Call) error {
	d := c.Data().List()
	if c.Cluster.Rights.Can(c.Who, "/access", "Sys.Audit") {
		for _, e := range c.Cluster.World.Access.ACL {
			d.Open().Str("path", e.Path).Str("type", e.Type).Str("ugid", e.ID).Str("roleid", e.Role).Flag("propagate", !e.Here).Close()
		}
	}
	d.End()
	return nil
}

// MaySeeACL is who may read the ACL.
func MaySeeACL(c *request.Call) error {
	return c.Cluster.Rights.Need(c.Who, c.Param("path"), "Permissions.Modify")
}

// Domains answers GET /access/domains.
func Domains(c *request.Call) error {
	d := c.Data().List()
	d.Open().Str("realm", "pam").Str("type", "pam").Str("comment", "Linux PAM standard authentication").Close()
	d.Open().Str("realm", "pve").Str("type", "pve").Str("comment", "Proxmox VE authentication server").Close()
	d.End()
	return nil
}

// Ticket logs a person in.
func Ticket(c *request.Call) error {
	cl, name := c.Cluster, c.Param("username")
	if realm := c.Param("realm"); realm != "" && !strings.Contains(name, "@") {
		name += "@" + realm
	}
	for _, u := range cl.World.Access.Users {
		if u.ID != name || u.Password == "" || u.Password != c.Param("password") || u.Disabled {
			continue
		}
		sum := sha256.Sum256([]byte(name + cl.Now.String() + strconv.Itoa(len(cl.Rights.Tickets))))
		ticket := "PVE:" + name + ":" + strings.ToUpper(hex.EncodeToString(sum[:4])) + "::" + hex.EncodeToString(sum[4:])
		cl.Rights.Tickets[ticket] = name
		c.Data().Open().Str("username", name).Str("ticket", ticket).Str("CSRFPreventionToken", CSRFToken(ticket)).Close()
		return nil
	}
	if err := cl.SleepUntil(c.Ctx, cl.Now.Add(cl.AuthDelay), nil); err != nil {
		return err
	}
	return &refusal.Refusal{Code: 401, Text: "authentication failure"}
}

// CSRFToken is the token that a request which writes with a ticket must send beside it.
func CSRFToken(ticket string) string {
	sum := sha256.Sum256([]byte("csrf " + ticket))
	return strings.ToUpper(hex.EncodeToString(sum[:4])) + ":" + hex.EncodeToString(sum[4:20])
}
