// Package request is one request on its way through the API: who asks, for which route, with which
// parameters, and the answer that its handler writes.
package request

import (
	"context"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A Call is one request on its way through the API.
type Call struct {
	Cluster *cluster.Cluster
	Ctx     context.Context
	Who     *rights.Subject
	Method  string
	Path    string // below /api2/json, decoded, without empty components
	Asked   string // the path as it was asked for, when another
	Params  map[string]string
	Route   *Route
	Node    *world.Node
	Late    bool // its effect was delayed: nobody hears the answer
	Body    jsontext.Doc
	Total   int64 // of lists that page; -1 for none
}

// HungFor is how long a daemon that hangs lets one wait.
const HungFor = 30 * time.Second

// Param is a parameter, "" when it was not given.
func (c *Call) Param(key string) string { return c.Params[key] }

// Has reports whether a parameter was given.
func (c *Call) Has(key string) bool {
	_, ok := c.Params[key]
	return ok
}

// Flag reports whether a boolean parameter is set.
func (c *Call) Flag(key string) bool { return c.Params[key] == "1" }

// VMID is the path's guest; its schema was checked.
func (c *Call) VMID() int { return notation.Atoi(c.Params["vmid"]) }

// Guest is the guest of the path, which must live on the node of the path.
func (c *Call) Guest() (*world.Guest, error) {
	g := c.Cluster.Guests[c.VMID()]
	if g == nil || g.Node != c.Node.Name || g.Qemu != c.Qemu() {
		return nil, cluster.NoConfig(c.Node.Name, c.VMID(), c.Qemu())
	}
	return g, nil
}

// Qemu reports whether the path is about virtual machines: /nodes/N/qemu.
func (c *Call) Qemu() bool {
	parts := strings.SplitN(c.Path, "/", 5)
	return len(parts) > 3 && parts[3] == "qemu"
}

// Envelope is how every answer with data begins.
const Envelope = `{"data":`

// Data starts an answer: what handlers write is its data. It is null until then.
func (c *Call) Data() *jsontext.Doc { return c.DataOf(512) }

// DataOf is data with room for about n bytes.
func (c *Call) DataOf(n int) *jsontext.Doc {
	if c.Body.B == nil {
		c.Body.B = append(make([]byte, 0, n), Envelope...)
	}
	return &c.Body
}

// Started answers with a task.
func (c *Call) Started(t *world.Task) error {
	c.Data().Text(t.UPID())
	return nil
}

// Worker starts a task for the guest of the path and answers with it; kind is that of a
// container (vzstart).
func (c *Call) Worker(kind string, args map[string]string) error {
	if act, ok := strings.CutPrefix(kind, "vz"); ok && c.Qemu() {
		kind = "qm" + act
	}
	return c.Started(c.Cluster.Start(c.Node, kind, c.Param("vmid"), c.Who.ID, 0, args))
}

// Owns reports whether a task of a user belongs to who asks: a token owns its own tasks, a user its own and those of its tokens. PVE: check_task_user.
func (c *Call) Owns(user string) bool {
	return user == c.Who.ID || c.Who.Token == nil && strings.HasPrefix(user, c.Who.ID+"!")
}
