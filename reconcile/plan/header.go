package plan

import "time"

// PlanHeader says of what and when a plan was made.
type PlanHeader struct {
	Node      string    `json:"node"`
	Version   string    `json:"version"`            // PVE's
	Refreshed time.Time `json:"refreshed"`          // by the node's clock, in its zone
	Unchanged time.Time `json:"unchanged,omitzero"` // when the marks of the host last showed that nothing has changed since; zero: not since then
	Requests  int       `json:"requests"`
	Elapsed   string    `json:"-"`
	Desired   string    `json:"desired"` // the path
	Files     int       `json:"files"`
	Hash      string    `json:"hash"`
	Commit    string    `json:"commit,omitempty"` // of the repository that the desired state was pulled from
	Elsewhere []string  `json:"elsewhere,omitempty"`
}

// AsOf is the last moment at which the node is known to have been as it was read, by its own clock.
func (h PlanHeader) AsOf() time.Time {
	if h.Unchanged.IsZero() {
		return h.Refreshed
	}
	return h.Unchanged
}
