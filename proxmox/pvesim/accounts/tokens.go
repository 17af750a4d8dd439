package accounts

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// GetToken answers GET /access/users/{userid}/token/{tokenid}.
func GetToken(c *request.Call) error {
	u := c.Cluster.World.Access.User(c.Param("userid"))
	if u == nil {
		return refusal.Fail("no such user ('%s')", c.Param("userid"))
	}
	t := u.Token(c.Param("tokenid"))
	if t == nil {
		return refusal.Fail("no such token '%s' for user '%s'", c.Param("tokenid"), u.ID)
	}
	d := c.Data().Open()
	tokenFields(d, t)
	d.Close()
	return nil
}

// SetToken makes a token, whose secret is shown this once, or changes one.
func SetToken(c *request.Call) error {
	cl, id := c.Cluster, c.Param("tokenid")
	u := cl.World.Access.User(c.Param("userid"))
	if u == nil {
		return refusal.Fail("no such user ('%s')", c.Param("userid"))
	}
	t := u.Token(id)
	made := c.Method == "POST"
	switch {
	case made && t != nil:
		return refusal.BadParam("tokenid", "Token already exists.")
	case !made && t == nil:
		return refusal.Fail("no such token '%s' for user '%s'", id, u.ID)
	case made:
		t = &world.Token{ID: id}
		u.Tokens = append(u.Tokens, t)
	}
	if made || c.Flag("regenerate") {
		sum := sha1.Sum([]byte("token " + u.ID + id + strconv.Itoa(cl.World.NextSerial())))
		h := hex.EncodeToString(sum[:16])
		t.Secret = h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	if v, ok := c.Params["comment"]; ok {
		t.Comment = v
	}
	if v, ok := c.Params["expire"]; ok {
		t.Expire, _ = strconv.ParseInt(v, 10, 64)
	}
	if v, ok := c.Params["privsep"]; ok {
		t.Full = v == "0"
	}
	cl.Rights.Dirty()
	d := c.Data().Open()
	if made {
		d.Str("full-tokenid", u.ID+"!"+id).Str("value", t.Secret).Key("info").Open()
		if t.Comment != "" {
			d.Str("comment", t.Comment)
		}
		if c.Has("expire") {
			d.Str("expire", c.Param("expire"))
		}
		d.Str("privsep", map[bool]string{true: "0", false: "1"}[t.Full]).Close()
	} else {
		tokenFields(d, t)
		if c.Flag("regenerate") {
			d.Str("value", t.Secret)
		}
	}
	d.Close()
	return nil
}

// DeleteToken answers DELETE /access/users/{userid}/token/{tokenid}.
func DeleteToken(c *request.Call) error {
	a, id := &c.Cluster.World.Access, c.Param("tokenid")
	u := a.User(c.Param("userid"))
	if u == nil || u.Token(id) == nil {
		return refusal.Fail("no such token '%s' for user '%s'", id, c.Param("userid"))
	}
	for i, t := range u.Tokens {
		if t.ID == id {
			u.Tokens = append(u.Tokens[:i:i], u.Tokens[i+1:]...)
			break
		}
	}
	a.Drop(func(e world.ACLEntry) bool { return e.ID == u.ID+"!"+id })
	c.Cluster.Rights.Dirty()
	return nil
}
