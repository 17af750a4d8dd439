package journal

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// settled is what the operations say that ended, up to the first one that has not. An outcome is never another one later, so
// a long history is gone through once, and not by each pass.
type settled struct {
	n        int // how many operations
	memory   Memory
	unsynced []*Operation // of which what they say depends on the time
}

// Memory reads the journal as the planner needs it. The maps belong to the caller.
func (j *Journal) Memory(now time.Time) Memory {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	s := &j.settled
	if s.n == 0 {
		s.memory = emptyMemory()
	}
	for ; s.n < len(j.Order) && !j.Order[s.n].Open(); s.n++ {
		a := j.Order[s.n]
		if s.memory.note(a, now); a.unsynced() {
			s.unsynced = append(s.unsynced, a)
		}
	}
	m := s.memory.clone()
	for _, a := range s.unsynced {
		m.noteArchive(a, now)
	}
	for _, a := range j.Order[s.n:] {
		m.note(a, now)
	}
	return m
}

// unsynced reports whether a backup was not written out to its disk when it had ended.
func (a *Operation) unsynced() bool { return a.outcomeFacts["synced"] == "no" }

func emptyMemory() Memory {
	return Memory{
		Changed: map[string]bool{},
		Cooling: map[string]Failure{}, Making: map[proxmox.VMID]string{}, Stale: map[proxmox.VMID]bool{}, Made: map[string]time.Time{},
		Done: map[string]bool{}, Notes: map[string]string{}, Unmade: map[proxmox.VMID]time.Time{}, Rollbacks: map[string]RollbackState{}, Archives: map[string]ArchiveState{}, Reading: map[string]bool{},
		Restarting: map[string]bool{}, BackedUp: map[string][]time.Time{}, Undeletable: map[string]time.Time{}, Unowned: map[string]Unowned{}, Tasks: map[proxmox.UPID]bool{},
	}
}

// note adds what one operation says to what those before it said.
func (m *Memory) note(a *Operation, now time.Time) {
	m.noteGuest(a, now)
	m.noteFlight(a)
	if a.Result == ResultOK {
		m.Changed[a.Object] = true
	}
	m.Done[a.ID] = a.Result == ResultOK
	if notes := notesOf(a); notes != "" && a.Result == ResultOK {
		m.Notes[a.Object] = notes
	}
	m.noteRollback(a)
	m.noteDelete(a)
	m.noteOwner(a)
	m.noteTest(a)
	m.noteGuard(a)
	m.noteBackup(a)
	m.noteArchive(a, now)
	switch {
	case a.Facts["restart"] != "" && a.Result == ResultOK:
		m.Restarting[a.Object] = true
	case strings.HasSuffix(a.ID, "/start") && a.Result == ResultOK:
		delete(m.Restarting, a.Object)
	}
}

// clone copies what the operations say; what only a pass knows is not in it yet.
func (m *Memory) clone() Memory {
	own := Memory{
		Changed: maps.Clone(m.Changed),
		Cooling: map[string]Failure{}, Making: maps.Clone(m.Making), Stale: map[proxmox.VMID]bool{}, Made: maps.Clone(m.Made),
		Done: maps.Clone(m.Done), Notes: maps.Clone(m.Notes), Unmade: maps.Clone(m.Unmade), Rollbacks: maps.Clone(m.Rollbacks), Archives: maps.Clone(m.Archives), Reading: maps.Clone(m.Reading),
		Restarting: maps.Clone(m.Restarting), BackedUp: maps.Clone(m.BackedUp), Undeletable: maps.Clone(m.Undeletable), Unowned: maps.Clone(m.Unowned), Tasks: maps.Clone(m.Tasks),
		Tests: slices.Clone(m.Tests), TakenBack: maps.Clone(m.TakenBack), Flights: slices.Clone(m.Flights),
	}
	for id, times := range own.BackedUp { // what is added to one of them is not in the others
		own.BackedUp[id] = slices.Clip(times)
	}
	return own
}
