// Package pvesim is a Proxmox VE node in memory.
package pvesim

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// Sim is one simulated cluster (usually of one node) with its hosts.
// All methods are safe for concurrent use.
type Sim struct {
	mu sync.Mutex
}

var errSkeleton = errors.New("pvesim: not there yet")

// TaskInfo names a task whose duration is asked for.
type TaskInfo struct {
	Node string
	Type string // vzrestore, vzdump, imgdel …
	ID   string // VMID, VMID@STORAGE, or empty
	User string
	Size int64 // bytes that the task moves (0 when it moves none)
}

// New returns the documented fresh node.
func New() *Sim { return &Sim{} }

// Load reads a world file.
func Load(world []byte) (*Sim, error) { return nil, errSkeleton }

// Save writes the world file.
func (s *Sim) Save() ([]byte, error) { return nil, errSkeleton }

// String prints what matters for comparing outcomes.
func (s *Sim) String() string { return "" }

// RoundTrip answers an API request in process.
func (s *Sim) RoundTrip(req *http.Request) (*http.Response, error) { return nil, errSkeleton }

// ServeHTTP answers an API request as a handler.
func (s *Sim) ServeHTTP(w http.ResponseWriter, req *http.Request) {}

// Now is the simulated clock.
func (s *Sim) Now() time.Time { return time.Now() }

// Advance moves the simulated clock forward.
func (s *Sim) Advance(d time.Duration) {}

// SetSpeed sets how much faster than real time the clock runs while a task runs.
func (s *Sim) SetSpeed(factor float64) {}

// SetDuration sets the rule for how long a task takes; nil restores the default.
func (s *Sim) SetDuration(rule func(TaskInfo) time.Duration) {}

// Node is the first node's name.
func (s *Sim) Node() string { return "pve1" }

// TokenID is the agent's token, "felhom@pve!agent" in the fresh world.
func (s *Sim) TokenID() string { return "felhom@pve!agent" }

// TokenSecret is that token's secret.
func (s *Sim) TokenSecret() string { return "" }

// Host is the machine of a node.
func (s *Sim) Host(node string) *Host { return &Host{sim: s, node: node} }

// Plug plugs the disk with this file system UUID in.
func (s *Sim) Plug(uuid string) {}

// Unplug pulls it out.
func (s *Sim) Unplug(uuid string) {}

// Shell runs a command line as root on a node's host.
func (s *Sim) Shell(node, cmdline string) (string, error) { return "", errSkeleton }

// Do makes an API call in a person's name.
func (s *Sim) Do(as, method, path string, params map[string]string) (status int, body string) {
	return 501, ""
}

// Requests counts the API requests that were served.
func (s *Sim) Requests() int { return 0 }

// Writes counts those of them that were not GETs.
func (s *Sim) Writes() int { return 0 }

// WriteData makes a guest write text into the volume mp ("rootfs", "mp0").
func (s *Sim) WriteData(vmid int, mp, text string) {}

// Reinstall is the node after a fire.
func (s *Sim) Reinstall() {}

// Data prints "VMID MP FINGERPRINT" of every guest's volumes, sorted.
func (s *Sim) Data() string { return "" }
