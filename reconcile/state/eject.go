package state

import (
	"strings"
	"time"
)

// Ejected returns the hold on a disk that was ejected, or is being ejected.
func (s Stored) Ejected(uuid string, now time.Time) (Hold, bool) {
	for _, h := range s.Holds {
		if h.Kind == HoldEjected && strings.EqualFold(h.UUID, uuid) && (h.Until.IsZero() || now.Before(h.Until)) {
			return h, true
		}
	}
	return Hold{}, false
}
