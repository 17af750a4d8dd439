package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// Stored is what outlives the agent besides its journal: the word of people, and what
// was once seen and can no longer be looked up. It is one small JSON file.
type Stored struct {
	Format int `json:"format"` // of this document: 1
	// Sum is the checksum of the document without it, as 12 hexadecimal digits. It is there
	// in the file alone; a file without one was written by an earlier version.
	Sum   string `json:"sum,omitempty"`
	Holds []Hold `json:"holds,omitempty"`
	// Trusted is the major version of PVE under which a run that somebody looked at
	// ended well with this state directory: until then, and after it changes, deletions
	// and disruptive acts wait for a person in watch mode. TrustedOn is the node.
	Trusted   string `json:"trusted,omitempty"`
	TrustedOn string `json:"trusted_on,omitempty"`
	// Backups are the last whole backups, by guest: their disk may be away now.
	Backups map[string]LastBackup `json:"backups,omitempty"`
	// Servers are the storages of backup servers, with what was ever listed there: a shorter list
	// proves nothing after that.
	Servers map[string]Server `json:"servers,omitempty"`
	// Known are the objects of the last desired state, with the VMID of those that have
	// one: what leaves the YAML is named once.
	Known map[string]proxmox.VMID `json:"known,omitempty"`
	// Kits are the recovery kits that were written, by storage and disk.
	Kits map[string]Kit `json:"kits,omitempty"`
	// Tests are the last restore tests, by guest.
	Tests map[string]LastTest `json:"tests,omitempty"`
	// Guards are the guarded changes that were taken back, by object, until the YAML changes.
	Guards map[string]GuardFailure `json:"guards,omitempty"`
	// Deletions are the deletions of guests that were in a plan that somebody has seen, by object.
	Deletions map[string]Deletion `json:"deletions,omitempty"`
	// Drift is since when a difference that is only reported has been seen.
	Drift map[string]time.Time `json:"drift,omitempty"`
}

// A Hold is somebody's word that a thing is to be left alone, or a thing that was seen
// and waits for a person.
type Hold struct {
	Name string `json:"name"` // "restores/web", or "all"
	Kind string `json:"kind"` // HoldPerson, HoldDestroyed or HoldEjected
	Why  string `json:"why,omitempty"`
	By   string `json:"by,omitempty"`
	UUID string `json:"uuid,omitempty"` // the disk, of an eject
	// Device is where the ejected disk was; as another device it was plugged in anew.
	Device string    `json:"device,omitempty"`
	Gone   bool      `json:"gone,omitempty"` // the ejected disk was unplugged since
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is released
}

// The kinds of holds.
const (
	HoldPerson    = "person"    // --hold
	HoldDestroyed = "destroyed" // somebody else destroyed the guest
	HoldEjected   = "ejected"   // --eject: this disk is not mounted again before it was unplugged
)

var holdKinds = []string{HoldPerson, HoldDestroyed, HoldEjected}

// LastBackup is the newest whole archive of a guest.
type LastBackup struct {
	Time    time.Time `json:"time"`
	Storage string    `json:"storage"`
	Disk    string    `json:"disk,omitempty"` // the label, where disks take turns
	// Size is that of the archive in bytes; 0: not known.
	Size proxmox.Size `json:"size,omitempty"`
}

// Server is what a storage of a backup server has shown.
type Server struct {
	Newest time.Time            `json:"newest"`           // of the backups of this agent
	Guests map[string]time.Time `json:"guests,omitempty"` // the newest archive of each declared guest, by its name
}

// Add remembers what was seen later.
func (s *Server) Add(seen Server) {
	if seen.Newest.After(s.Newest) {
		s.Newest = seen.Newest
	}
	for guest, at := range seen.Guests {
		if s.Guests == nil {
			s.Guests = map[string]time.Time{}
		}
		if at.After(s.Guests[guest]) {
			s.Guests[guest] = at
		}
	}
}

// Store keeps Stored in a state directory. It is safe for concurrent use, by several
// processes too.
type Store struct {
	mu   sync.Mutex
	path string // "" for one in memory
	Mem  Stored
	read []byte // the file, as it was read last, and
	was  Stored // what it says
}

// OpenStore names the store of a state directory.
func OpenStore(dir string) *Store { return &Store{path: filepath.Join(dir, "state.json")} }

// MemoryStore is a store that ends with the process.
func MemoryStore() *Store { return &Store{} }

// Load reads what is stored. A missing file is an empty store. One that is damaged, or has
// something that this version does not know, is a *StateError, for holds in it could not
// be honoured.
func (s *Store) Load() (Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load()
}

func (s *Store) load() (Stored, error) {
	if s.path == "" {
		return s.Mem.clone(), nil
	}
	stored := Stored{Format: 1}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return stored, nil
	}
	if err != nil {
		return stored, fmt.Errorf("cannot read the state: %w; stopping, because holds could not be honoured", err)
	}
	if s.read == nil || !bytes.Equal(data, s.read) { // every pass reads it
		if stored, err = decodeStored(s.path, data); err != nil {
			return stored, err
		}
		s.read, s.was = data, stored
	}
	return s.was.clone(), nil
}

// clone is a copy that shares nothing with the original.
func (s Stored) clone() Stored {
	s.Format = 1
	s.Holds = slices.Clone(s.Holds)
	s.Backups, s.Known, s.Kits, s.Guards = maps.Clone(s.Backups), maps.Clone(s.Known), maps.Clone(s.Kits), maps.Clone(s.Guards)
	s.Deletions, s.Drift, s.Servers, s.Tests = maps.Clone(s.Deletions), maps.Clone(s.Drift), maps.Clone(s.Servers), maps.Clone(s.Tests)
	for id, server := range s.Servers {
		server.Guests = maps.Clone(server.Guests)
		s.Servers[id] = server
	}
	for guest, last := range s.Tests {
		last.TestResult = last.TestResult.clone()
		if last.Good != nil {
			good := last.Good.clone()
			last.Good = &good
		}
		s.Tests[guest] = last
	}
	return s
}

// written is what a later read of the file would say.
func (s Stored) written() Stored {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data
	}
	c := Stored{}
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	c.Format = 1
	return c
}

// Change rewrites what is stored, whole or not at all. A change that changes nothing
// writes nothing.
func (s *Store) Change(change func(*Stored)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	release, err := s.alone()
	if err != nil {
		return err
	}
	defer release()
	stored, err := s.load()
	if err != nil {
		return err
	}
	before, _ := json.Marshal(stored)
	change(&stored)
	after, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	if string(after) == string(before) {
		return nil
	}
	if s.path == "" {
		s.Mem = stored.written()
		return nil
	}
	data, err := stored.encode()
	if err != nil {
		return err
	}
	return ReplaceFile(s.path, data)
}

// ReplaceFile writes a file beside the old one and puts it in its place.
func ReplaceFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err = file.Write(data); err == nil {
		err = file.Chmod(0o640)
	}
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // else a power cut can bring the old file back
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// AddHold adds a hold, in place of an earlier one of the same name and kind.
func (s *Store) AddHold(h Hold) error {
	return s.Change(func(stored *Stored) {
		stored.Holds = slices.DeleteFunc(stored.Holds, func(old Hold) bool { return old.Name == h.Name && old.Kind == h.Kind && old.UUID == h.UUID })
		stored.Holds = append(stored.Holds, h)
	})
}

// Release takes the holds of a name away, for "all" all but those of ejected disks, and
// tells how many there were.
func (s *Store) Release(name string) (int, error) {
	n := 0
	err := s.Change(func(stored *Stored) {
		stored.Holds = slices.DeleteFunc(stored.Holds, func(h Hold) bool {
			gone := h.Name == name || name == "all" && h.Kind != HoldEjected
			if gone {
				n++
			}
			return gone
		})
	})
	return n, err
}

// Hold returns the hold on an object, under its name or the one that it had, that is in
// force at a time.
func (s Stored) Hold(o *spec.Object, kind string, now time.Time) (Hold, bool) {
	for _, h := range s.Holds {
		if h.Kind == kind && (h.Name == "all" || slices.Contains(o.Names(), h.Name)) && (h.Until.IsZero() || now.Before(h.Until)) {
			return h, true
		}
	}
	return Hold{}, false
}

// Major is the first number of PVE's version.
func Major(version string) string {
	first, _, _ := strings.Cut(version, ".")
	return first
}
