package api

import (
	"cmp"
	"context"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Dispatch carries a call out: route, permissions, proxying, validation, handler.
// PVE: HTTPServer rest_handler.
func Dispatch(ctx context.Context, c *request.Call) error {
	cl := c.Cluster
	c.Ctx, c.Total = ctx, -1
	rt, vars, ok := FindRoute(c.Method, c.Path)
	if !ok {
		return &refusal.Refusal{Code: 501, Text: "Method '" + c.Method + " " + cmp.Or(c.Asked, c.Path) + "' not implemented"}
	}
	c.Route = rt
	if err := fromPath(c, vars); err != nil {
		return err
	}
	if c.Who == nil && !rt.World {
		return &refusal.Refusal{Code: 401, Text: "No ticket"}
	}
	if rt.Ticket && c.Who != nil && c.Who.Token != nil {
		return refusal.Forbid("URI '" + c.Path + "' not available with API token, need proper ticket.")
	}
	if name := c.Params["node"]; name != "" && rt.Node {
		if name == "localhost" {
			name = cl.World.Nodes[0].Name
			c.Params["node"] = name
		}
		c.Node = cl.World.Node(name)
	}
	if rt.Perm != nil {
		if err := rt.Perm(c); err != nil {
			return err
		}
	}
	if rt.Node {
		if err := unreachable(c); err != nil {
			return err
		}
	}
	if !c.Late {
		if err := outage(cl, c); err != nil {
			return err
		}
	}
	if rt.Schema != nil {
		if errs := rt.Schema.Check(c.Params); errs != nil {
			return &refusal.Refusal{Code: 400, Text: "Parameter verification failed.", Errors: errs}
		}
	}
	return rt.Run(c)
}

// fromPath adds the variables of the path to the parameters: vars are names and values by turns.
func fromPath(c *request.Call, vars []string) error {
	if len(vars) > 0 && c.Params == nil {
		c.Params = make(map[string]string, len(vars)/2)
	}
	var conflict []string
	for i := 0; i < len(vars); i += 2 {
		if v, dup := c.Params[vars[i]]; dup && v != vars[i+1] {
			conflict = append(conflict, vars[i], "duplicate parameter (already defined in URI) with conflicting values!")
		}
		c.Params[vars[i]] = vars[i+1]
	}
	if conflict != nil {
		return refusal.BadParam(conflict...)
	}
	return nil
}

// unreachable is why a call does not get to the node of its path.
func unreachable(c *request.Call) error {
	name := c.Params["node"]
	switch {
	case c.Node == nil && !c.Cluster.World.Nodes[0].Knows(name):
		return refusal.Fail("hostname lookup '%s' failed - failed to get address info for: %s: Temporary failure in name resolution", name, name)
	case c.Node == nil, c.Node.Down:
		return &refusal.Refusal{Code: 595, Text: "No route to host"}
	}
	return nil
}

// outage is what a node whose daemons are down or hang answers.
func outage(cl *cluster.Cluster, c *request.Call) error {
	n := c.Node
	if n == nil {
		n = cl.World.Nodes[0]
	}
	switch n.Outage {
	case "pmxcfs-down":
		return &refusal.Refusal{Code: 500, Text: "RPCEnvironment init request failed: Unable to load access control list: Connection refused", Bare: true}
	case "pvedaemon-down":
		if c.Route.Protected {
			return &refusal.Refusal{Code: 595, Text: "Connection refused"}
		}
	case "pvedaemon-hung":
		if c.Route.Protected {
			if c.Method != "GET" {
				cl.World.Events = append(cl.World.Events, &world.Event{At: cl.Now.Add(request.HungFor), Kind: "request",
					As: c.Who.ID, Method: c.Method, Path: c.Path, Params: c.Params})
			}
			if err := cl.SleepUntil(c.Ctx, cl.Now.Add(request.HungFor), nil); err != nil {
				return err
			}
			return &refusal.Refusal{Code: 596, Text: "Connection timed out"}
		}
	}
	return nil
}
