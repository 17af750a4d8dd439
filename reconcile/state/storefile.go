package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A StateError says that a file of the state directory cannot be used, what of it would be
// lost, and how to go on. Nothing is done meanwhile: holds in it could not be honoured.
type StateError struct {
	Path   string
	Reason string   // "is damaged: ..."
	Holds  []string // the names of holds that can still be read in it; they may be wrong
	Fix    string
}

func (e *StateError) Error() string {
	lost := "No hold can be read in it."
	if len(e.Holds) > 0 {
		lost = "It has holds on " + text.List(e.Holds) + "."
	}
	return fmt.Sprintf("%s %s; stopping, because holds could not be honoured. %s fix: %s", e.Path, e.Reason, lost, e.Fix)
}

// encode prints what is stored with its checksum, which is that of the same document
// without it. What is not UTF-8 is replaced first, as a later read would do.
func (s Stored) encode() ([]byte, error) {
	s = s.written()
	s.Sum = ""
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	s.Sum = text.ShortHash(string(plain))
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}

// decodeStored reads the document of a state file. One of an earlier version has no
// checksum. A key, a kind of hold or a format that this version does not know is refused,
// for it may be a hold that would not be honoured.
func decodeStored(path string, data []byte) (Stored, error) {
	fault := func(fix, format string, args ...any) (Stored, error) {
		return Stored{Format: 1}, &StateError{Path: path, Reason: fmt.Sprintf(format, args...), Holds: readableHolds(data), Fix: fix}
	}
	again := fmt.Sprintf("mv %s %s.damaged, then repeat each hold: felhom-agent --hold NAME", path, path)
	newer := "install the newer version again, or " + again
	var stored Stored
	var format struct{ Format int }
	if err := json.Unmarshal(data, &format); err == nil && format.Format != 1 {
		return fault(newer, "has format %d and this version knows 1", format.Format)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&stored); err != nil {
		if key, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return fault(newer, "has the key %s, which this version does not know", key)
		}
		return fault(again, "is damaged: %v", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fault(again, "is damaged: something follows its end")
	}
	if sum := stored.Sum; sum != "" {
		stored.Sum = ""
		plain, err := json.Marshal(stored)
		if err != nil {
			return fault(again, "is damaged: %v", err)
		}
		if text.ShortHash(string(plain)) != sum {
			return fault("review the file; to accept it as it is, delete its key sum, else "+again, "is damaged or was edited: its checksum does not match")
		}
	}
	for _, h := range stored.Holds {
		switch {
		case !slices.Contains(holdKinds, h.Kind):
			return fault(newer, "has a hold of the kind %q on %q, which this version does not know", h.Kind, h.Name)
		case !holdName(h.Name):
			return fault(newer, "has a hold on %q, which is not an object of this version", h.Name)
		}
	}
	return stored, nil
}

// holdName reports whether a hold can have a name: of an object, or of all.
func holdName(name string) bool {
	_, err := spec.ParseRef(name)
	return err == nil || name == "all"
}

var nameInState = regexp.MustCompile(`"name":\s*"([^"\\]{1,200})"`)

// readableHolds finds the names of holds in a file that does not parse.
func readableHolds(data []byte) []string {
	var names []string
	for _, m := range nameInState.FindAllSubmatch(data, 100) {
		if name := string(m[1]); holdName(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
