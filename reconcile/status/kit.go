package status

import (
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// kitText is where a recovery kit is, of when, and which one.
func kitText(kit state.Kit, at, now time.Time) string {
	on := kit.Storage
	if kit.Disk != "" {
		on += " (" + kit.Disk + ")"
	}
	if kit.Time.IsZero() {
		return quote.Sprintf("%s NEVER: %s", on, kit.Problem)
	}
	line := on + at.Format(" 2 Jan 15:04")
	if now.After(kit.Time) {
		line += " (" + text.Ago(now.Sub(kit.Time)) + " ago)"
	}
	line += ", " + kit.Digest
	if kit.Problem != "" {
		line += "; a newer one was not written: " + kit.Problem
	}
	return line
}
