package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// tests prints which backups were proven by a restore.
func (p *printed) tests() {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p.Tests)) {
		last := p.Tests[name]
		said := name + " NEVER"
		if last.Ended != (time.Time{}) {
			said = fmt.Sprintf("%s %s %s", name, VerdictWord(last.Verdict), p.local(last.Ended).Format("2 Jan 15:04"))
		}
		if good := last.Good; good != nil && !last.Verdict.Good() {
			said += " (last good: " + p.local(good.Ended).Format("2 Jan") + ")"
		} else if good != nil {
			said += fmt.Sprintf(" (backup of %s, restored in %s)", p.local(good.Made).Format("2 Jan 15:04"), text.Elapsed(time.Duration(good.Seconds*float64(time.Second))))
		}
		parts = append(parts, said)
	}
	if len(parts) > 0 {
		quote.Fprintf(p.to, "  restore tests      %s\n", strings.Join(parts, "    "))
	}
}

// VerdictWord is a verdict as people read it in a row of others: what is bad stands out.
func VerdictWord(v state.Verdict) string {
	switch v {
	case state.VerdictFails:
		return "FAILS"
	case state.VerdictUnverified:
		return "COULD NOT VERIFY"
	}
	return string(v)
}
