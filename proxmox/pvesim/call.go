package pvesim

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A call is one request on its way through the API.
type call struct {
	s      *Sim
	ctx    context.Context
	who    *subject
	method string
	path   string // below /api2/json, decoded, without empty components
	asked  string // the path as it was asked for, when another
	params map[string]string
	route  *route
	node   *node
	late   bool // its effect was delayed: nobody hears the answer
	body   doc
	total  int64 // of lists that page; -1 for none
}

// A refusal is an answer that is no 200.
type refusal struct {
	code   int
	text   string
	errors map[string]string
	bare   bool // the HTTP layer's own: no JSON
}

func (r *refusal) Error() string { return r.text }

// fail is a plain Perl die: 500 with its text.
func fail(format string, args ...any) error {
	if len(args) == 0 {
		return &refusal{code: 500, text: format}
	}
	return &refusal{code: 500, text: fmt.Sprintf(format, args...)}
}

// forbid is a 403. PVE: raise_perm_exc.
func forbid(what string) error {
	if what == "" {
		return &refusal{code: 403, text: "Permission check failed"}
	}
	return &refusal{code: 403, text: "Permission check failed (" + what + ")"}
}

// badParam is a 400 with an errors map. PVE: raise_param_exc.
func badParam(pairs ...string) error {
	errs := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		errs[pairs[i]] = pairs[i+1]
	}
	return &refusal{code: 400, text: "Parameter verification failed.", errors: errs}
}

// inTask is how an exception reads in a task's exit status: with its code in front.
func inTask(err error) string {
	var r *refusal
	if errors.As(err, &r) && r.code != 500 {
		return fmt.Sprintf("%d %s", r.code, r.text)
	}
	return err.Error()
}

func (c *call) param(key string) string { return c.params[key] }

func (c *call) has(key string) bool {
	_, ok := c.params[key]
	return ok
}

func (c *call) flag(key string) bool { return c.params[key] == "1" }

// vmid is the path's guest; its schema was checked.
func (c *call) vmid() int { return atoi(c.params["vmid"]) }

// guest is the guest of the path, which must live on the node of the path.
func (c *call) guest() (*guest, error) {
	g := c.s.guests[c.vmid()]
	if g == nil || g.Node != c.node.Name || g.Qemu {
		return nil, noConfig(c.node.Name, c.vmid())
	}
	return g, nil
}

func noConfig(node string, vmid int) error {
	return fail("Configuration file 'nodes/%s/lxc/%d.conf' does not exist", node, vmid)
}

func atoi(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// dispatch carries a call out: route, permissions, proxying, validation, handler.
// PVE: HTTPServer rest_handler.
func (s *Sim) dispatch(ctx context.Context, c *call) error {
	c.ctx, c.total = ctx, -1
	rt, vars, ok := findRoute(c.method, c.path)
	if !ok {
		return &refusal{code: 501, text: "Method '" + c.method + " " + orElse(c.asked, c.path) + "' not implemented"}
	}
	c.route = rt
	if len(vars) > 0 && c.params == nil {
		c.params = make(map[string]string, len(vars)/2)
	}
	var conflict []string
	for i := 0; i < len(vars); i += 2 {
		if v, dup := c.params[vars[i]]; dup && v != vars[i+1] {
			conflict = append(conflict, vars[i], "duplicate parameter (already defined in URI) with conflicting values!")
		}
		c.params[vars[i]] = vars[i+1]
	}
	if conflict != nil {
		return badParam(conflict...)
	}
	if c.who == nil && !rt.world {
		return &refusal{code: 401, text: "No ticket"}
	}
	if rt.ticket && c.who != nil && c.who.token != nil {
		return forbid("URI '" + c.path + "' not available with API token, need proper ticket.")
	}
	if name := c.params["node"]; name != "" && rt.node {
		if name == "localhost" {
			name = s.w.Nodes[0].Name
			c.params["node"] = name
		}
		c.node = s.node(name)
	}
	if rt.perm != nil {
		if err := rt.perm(c); err != nil {
			return err
		}
	}
	if rt.node {
		if c.node == nil {
			name := c.params["node"]
			if s.w.Nodes[0].knows(name) {
				return &refusal{code: 595, text: "No route to host"}
			}
			return fail("hostname lookup '%s' failed - failed to get address info for: %s: Temporary failure in name resolution", name, name)
		}
		if c.node.Down {
			return &refusal{code: 595, text: "No route to host"}
		}
	}
	if !c.late {
		if err := s.outage(c); err != nil {
			return err
		}
	}
	if rt.schema != nil {
		if errs := rt.schema.check(c.params); errs != nil {
			return &refusal{code: 400, text: "Parameter verification failed.", errors: errs}
		}
	}
	return rt.run(c)
}

// knows reports whether a node's hosts file has a name; nobody answers at its address,
// unless it is a node's.
func (n *node) knows(name string) bool {
	for _, line := range strings.Split(n.Files["/etc/hosts"], "\n") {
		if f := strings.Fields(line); len(f) > 1 && contains(f[1:], name) {
			return true
		}
	}
	return false
}

// outage is what a node whose daemons are down or hang answers.
func (s *Sim) outage(c *call) error {
	n := c.node
	if n == nil {
		n = s.w.Nodes[0]
	}
	switch n.Outage {
	case "pmxcfs-down":
		return &refusal{code: 500, text: "RPCEnvironment init request failed: Unable to load access control list: Connection refused", bare: true}
	case "pvedaemon-down":
		if c.route.protected {
			return &refusal{code: 595, text: "Connection refused"}
		}
	case "pvedaemon-hung":
		if c.route.protected {
			if c.method != "GET" {
				s.w.Events = append(s.w.Events, &event{At: s.now.Add(hungFor), Kind: "request",
					As: c.who.id, Method: c.method, Path: c.path, Params: c.params})
			}
			if err := s.sleepUntil(c.ctx, s.now.Add(hungFor), nil); err != nil {
				return err
			}
			return &refusal{code: 596, text: "Connection timed out"}
		}
	}
	return nil
}

// envelope is how every answer with data begins.
const envelope = `{"data":`

// data starts an answer: what handlers write is its data. It is null until then.
func (c *call) data() *doc { return c.dataOf(512) }

// dataOf is data with room for about n bytes.
func (c *call) dataOf(n int) *doc {
	if c.body.b == nil {
		c.body.b = append(make([]byte, 0, n), envelope...)
	}
	return &c.body
}

// upid answers with a task.
func (c *call) upid(t *task) error {
	c.data().text(t.upid())
	return nil
}
