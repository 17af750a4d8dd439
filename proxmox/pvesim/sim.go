package pvesim

import (
	"fmt"
	"net/http"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/api"
	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/host"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/outcome"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Sim is one simulated cluster (usually of one node) with its hosts.
// All methods are safe for concurrent use.
type Sim struct{ cl *cluster.Cluster }

var _ http.RoundTripper = (*Sim)(nil)

// New returns the fresh node that the package comment describes.
func New() *Sim {
	cl, err := cluster.New(world.Fresh(), api.AllDuties)
	if err != nil {
		panic("pvesim: the fresh world: " + err.Error())
	}
	machine.HoldAll(cl)
	return &Sim{cl}
}

// Load reads a world file: YAML, `format: 1` first, as Save writes it.
// Unknown keys are an error.
func Load(text []byte) (*Sim, error) {
	w, err := world.Read(text)
	if err != nil {
		return nil, fmt.Errorf("pvesim: world file: %w", err)
	}
	cl, err := cluster.New(w, api.AllDuties)
	if err != nil {
		return nil, fmt.Errorf("pvesim: world file: %w", err)
	}
	return &Sim{cl}, nil
}

// Save writes the world file. Of equal worlds the files are equal.
func (s *Sim) Save() ([]byte, error) {
	defer s.cl.Enter()()
	w := s.cl.World
	w.Clock = s.cl.Now.In(w.Nodes[0].Location)
	w.Speed = 0
	if s.cl.Speed != 1 {
		w.Speed = s.cl.Speed
	}
	return w.Write()
}

// Now is the simulated clock.
func (s *Sim) Now() time.Time {
	defer s.cl.Enter()()
	return s.cl.Now.In(s.cl.World.Nodes[0].Location)
}

// Advance moves the simulated clock forward; what is due until then happens.
func (s *Sim) Advance(d time.Duration) {
	defer s.cl.Enter()()
	s.cl.Advance(d)
}

// SetSpeed sets how much faster than real time the clock runs while a task runs (1 is real).
func (s *Sim) SetSpeed(factor float64) {
	defer s.cl.Enter()()
	if factor > 0 {
		s.cl.Speed = factor
	}
}

// SetDuration sets the rule for how long a task takes; nil restores the default.
func (s *Sim) SetDuration(rule func(cluster.TaskInfo) time.Duration) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	if rule == nil {
		rule = cluster.DefaultDuration
	}
	s.cl.Duration = rule
}

// SetAuthDelay sets how long a 401 takes: three seconds as in PVE, unless set.
func (s *Sim) SetAuthDelay(d time.Duration) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	s.cl.AuthDelay = d
}

// Node is the first node's name.
func (s *Sim) Node() string { return s.cl.World.Nodes[0].Name }

// Guests is how many guests the first node has.
func (s *Sim) Guests() (n int) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	for _, g := range s.cl.World.Guests {
		if g.Node == s.cl.World.Nodes[0].Name {
			n++
		}
	}
	return n
}

// Version is the version of PVE that the node says it has.
func (s *Sim) Version() string { return s.cl.World.Version }

// TokenID is the agent's token, "felhom@pve!agent" in the fresh world.
func (s *Sim) TokenID() string {
	if s.cl.World.Agent != "" {
		return s.cl.World.Agent
	}
	return "felhom@pve!agent"
}

// TokenSecret is that token's secret; empty when the world has no such token.
func (s *Sim) TokenSecret() string {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	if who := s.cl.Rights.Subject(s.TokenID()); who != nil && who.Token != nil {
		return who.Token.Secret
	}
	return ""
}

// Tokens are all tokens of the world with their secrets, by full ID.
func (s *Sim) Tokens() map[string]string {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	all := make(map[string]string)
	for _, u := range s.cl.World.Access.Users {
		for _, t := range u.Tokens {
			all[u.ID+"!"+t.ID] = t.Secret
		}
	}
	return all
}

// Requests counts the API requests that came over RoundTrip or ServeHTTP.
func (s *Sim) Requests() int {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	return s.cl.Requests
}

// Writes counts those of them that were not GETs.
func (s *Sim) Writes() int {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	return s.cl.Writes
}

// Host is the machine of a node; it satisfies what privileged calls a host.
func (s *Sim) Host(node string) *host.Host { return host.New(s.cl, node) }

// Shell runs a command line as root on a node's host, with 'single' and "double" quotes:
// `pct stop 101`. An exit code other than 0 is an error that has the output.
func (s *Sim) Shell(node, cmdline string) (string, error) { return host.Shell(s.cl, node, cmdline) }

// RoundTrip answers an API request in process, whatever its host and scheme.
func (s *Sim) RoundTrip(req *http.Request) (*http.Response, error) { return api.RoundTrip(s.cl, req) }

// ServeHTTP answers an API request over a connection. It writes errors itself,
// since their status lines bear PVE's text, so the server must speak HTTP/1.1 only.
func (s *Sim) ServeHTTP(w http.ResponseWriter, req *http.Request) { api.ServeHTTP(s.cl, w, req) }

// Do makes an API call in the name of a user or token ("root@pam", "anna@pve"),
// without HTTP. The path begins below /api2/json, its parameters are query or form alike.
// It answers with the status and the body.
func (s *Sim) Do(as, method, path string, params map[string]string) (status int, body string) {
	return api.Do(s.cl, as, method, path, params)
}

// String prints the state that matters for comparing outcomes, in one fixed form:
// guests with their configs and what their volumes hold, volumes that no guest names,
// archives with their notes, mounts, fstab, and tasks that run. Task history, PIDs,
// counters and digests are left out.
func (s *Sim) String() string {
	defer s.cl.Enter()()
	return outcome.State(s.cl)
}

// Data prints "VMID MP FINGERPRINT" of every volume that a guest has mounted, sorted by
// VMID and mount point.
func (s *Sim) Data() string {
	defer s.cl.Enter()()
	return outcome.Data(s.cl)
}

// WriteData lets a guest write text into its volume ("rootfs", "mp0"): the fingerprint
// of what the volume holds becomes another one, by what was there and the text.
// It does nothing when there is no such guest or volume.
func (s *Sim) WriteData(vmid int, mp, text string) {
	defer s.cl.Enter()()
	outcome.WriteData(s.cl, vmid, mp, text)
}

// The types of rooms below that callers of a [Sim] name.
type (
	Host       = host.Host        // the machine of a node
	Fault      = world.Fault      // something that goes wrong
	TaskInfo   = cluster.TaskInfo // a task whose duration is asked for
	Inside     = world.Inside     // what runs and is stored in a guest
	InsideFile = world.InsideFile // one file in a guest
)

// Diff compares two states ([Sim.String]) line by line: what only the first has begins with -,
// what only the second has with +, and the line that it belongs to (the guest, the node) stands
// before it. Of equal states it is empty.
func Diff(a, b string) string { return outcome.Diff(a, b) }
