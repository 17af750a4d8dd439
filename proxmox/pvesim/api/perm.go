package api

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/accounts"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
)

// extraPerm reads the rights of a line.
func extraPerm(text string) func(*request.Call) error {
	switch text {
	case "":
		return nil
	case "acl":
		return accounts.MaySeeACL
	case "self":
		return selfPerm
	case "realm":
		return realmPerm
	case "modify":
		return userPerm("User.Modify")
	case "download":
		return downloadPerm
	case "users":
		return needsAnyAt("/access/groups", "User.Modify")
	}
	var all []func(*request.Call) error
	for _, part := range strings.Split(text, " and ") {
		path, privs, _ := strings.Cut(part, " ")
		switch path {
		case "vm":
			path = "/vms/{vmid}"
		case "store":
			path = "/storage/{storage}"
		}
		all = append(all, needsAnyAt(path, strings.Split(privs, "|")...))
	}
	return func(c *request.Call) error {
		for _, one := range all {
			if err := one(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// needsAnyAt needs one of the privileges at a path with parameters in braces.
func needsAnyAt(path string, privs ...string) func(*request.Call) error {
	return func(c *request.Call) error {
		parts := strings.Split(path, "/")
		for i, p := range parts {
			if name, ok := strings.CutPrefix(p, "{"); ok {
				parts[i] = c.Param(strings.TrimSuffix(name, "}"))
			}
		}
		return c.Cluster.Rights.NeedAny(c.Who, strings.Join(parts, "/"), privs...)
	}
}

// downloadPerm: templates may be stored, and the node's network used.
func downloadPerm(c *request.Call) error {
	if err := c.Cluster.Rights.Need(c.Who, rights.OnStorage(c.Param("storage")), "Datastore.AllocateTemplate"); err != nil {
		return err
	}
	if c.Cluster.Rights.Need(c.Who, "/", "Sys.Audit", "Sys.Modify") != nil && !c.Cluster.Rights.Can(c.Who, "/nodes/"+c.Param("node"), "Sys.AccessNetwork") {
		return refusal.Forbid("")
	}
	return nil
}

// selfPerm lets users at their own entry, their tokens not, and those who may modify users at
// all. As of every "or" its refusal does not say what is missing. PVE: exec_api2_perm_check.
func selfPerm(c *request.Call) error {
	if c.Param("userid") == c.Who.ID {
		return nil
	}
	return userPerm("User.Modify")(c)
}

// userPerm needs one of the privileges on all groups.
func userPerm(privs ...string) func(*request.Call) error {
	return func(c *request.Call) error {
		if c.Cluster.World.Access.User(c.Param("userid")) == nil {
			return refusal.Fail("no such user ('%s')", c.Param("userid"))
		}
		if c.Cluster.Rights.NeedAny(c.Who, "/access/groups", privs...) != nil {
			return refusal.Forbid("")
		}
		return nil
	}
}

// realmPerm is for making and removing users: rights on their realm, then on groups.
func realmPerm(c *request.Call) error {
	if err := c.Cluster.Rights.Need(c.Who, "/access/realm/"+accounts.RealmOf(c.Param("userid")), "Realm.AllocateUser"); err != nil {
		return err
	}
	if c.Method == "DELETE" {
		return userPerm("User.Modify")(c)
	}
	return c.Cluster.Rights.Need(c.Who, "/access/groups", "User.Modify")
}
