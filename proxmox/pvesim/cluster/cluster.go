// Package cluster is a world at work: its clock, its tasks, and who holds which lock. It runs
// whatever is due, in order and at its own time; what a task does is not known here, the API hands
// it in as duties. Its mutex is the simulator's only one.
package cluster

import (
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A Cluster is a world at work: with its clock, tasks, locks and rights. Whoever uses it
// holds its mutex; enter takes it.
type Cluster struct {
	Mu    sync.Mutex
	World *world.World

	Now       time.Time // the simulated clock as of the last settling
	real      time.Time // the real one at the same moment
	Speed     float64
	Duration  func(TaskInfo) time.Duration
	AuthDelay time.Duration
	settling  bool // effects happen right now
	AtWork    int  // host commands that take their time right now

	Guests   map[int]*world.Guest
	Storages map[string]*world.Storage
	Running  []*world.Task
	Locks    map[string]string // who has which lock
	Rights   rights.ACL
	Requests int
	Writes   int
	since    versions // of pmxcfs
	dropped  int      // writes of the configs of guests that are gone
	// StorageWrites is how often storage.cfg was written, which pmxcfs counts.
	StorageWrites int
	duties        Duties
}

// Duties are what a cluster has others do when its clock says that it is due.
type Duties struct {
	Run       func(cl *Cluster, t *world.Task) error      // the phase of a task that is due
	Undo      func(cl *Cluster, t *world.Task, err error) // what a task cleans up when it fails
	Interrupt func(cl *Cluster, t *world.Task) bool       // ends a task of a kind of its own that is stopped; false for all others
	Request   func(cl *Cluster, e *world.Event)           // a request whose effect was delayed
	Starve    func(cl *Cluster, g *world.Guest)           // a guest uses more memory than it has, perhaps
}

// New is a cluster with the world of a world file, at its time.
func New(w *world.World, do Duties) (*Cluster, error) {
	cl := &Cluster{World: w, duties: do, Speed: 1, real: time.Now(), Duration: DefaultDuration, AuthDelay: 3 * time.Second}
	return cl, cl.Reset()
}

// Reset begins anew with what the world holds now.
func (cl *Cluster) Reset() error {
	cl.Guests = make(map[int]*world.Guest)
	cl.Storages = make(map[string]*world.Storage)
	cl.Running = nil
	cl.Locks = make(map[string]string)
	cl.Rights = rights.New(cl.World)
	w := cl.World
	if err := w.Complete(); err != nil {
		return err
	}
	for _, n := range w.Nodes {
		for _, t := range n.Tasks {
			if t.End == 0 {
				cl.Running = append(cl.Running, t)
				for _, key := range t.Holds {
					cl.Locks[key] = t.UPID()
				}
			}
		}
	}
	for _, st := range w.Storages {
		cl.Storages[st.ID] = st
	}
	for _, g := range w.Guests {
		cl.Guests[g.VMID] = g
	}
	cl.Now = w.Clock
	RestartPmxcfs(cl)
	if w.Speed > 0 {
		cl.Speed = w.Speed
	}
	return nil
}

// Enter takes the mutex, lets happen what is due, and is what gives the mutex back.
func (cl *Cluster) Enter() (leave func()) {
	cl.Mu.Lock()
	cl.Settle()
	return cl.Mu.Unlock
}

// Away lets the mutex go while f runs.
func (cl *Cluster) Away(f func()) {
	cl.Mu.Unlock()
	defer cl.Mu.Lock()
	f()
}
