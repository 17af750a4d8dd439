package status

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/reconcile/view"
)

// printed is a status on its way to a person.
type printed struct {
	Status
	to    *bufio.Writer
	clock time.Time // the node's, now
	rows  int       // of the table, so far
}

// WriteText prints the status for people, as of now.
func (s Status) WriteText(w io.Writer, now time.Time, o view.TextOptions) error {
	p := &printed{Status: s, to: bufio.NewWriter(w), clock: s.Clock.Add(now.Sub(s.Written))}
	p.service(now, o)
	p.summary()
	p.table()
	if p.rows > 0 {
		fmt.Fprintln(p.to)
	}
	p.backups()
	return p.to.Flush()
}

// local is a time by the node's clock, as far as it is known.
func (p *printed) local(t time.Time) time.Time {
	if p.Refreshed.IsZero() {
		return t
	}
	return t.In(p.Refreshed.Location())
}

func (p *printed) at(t time.Time) string { return p.local(t).Format("Mon 2 Jan 15:04") }

// service says whether the service runs, and how old this is.
func (p *printed) service(now time.Time, o view.TextOptions) {
	switch {
	case p.Written.IsZero():
		quote.Fprintf(p.to, "No service has written its state yet; this is the state after runs by hand. Start it: systemctl start felhom-agent; or see felhom-agent --plan%s\n", o.Args)
	case !p.Running():
		quote.Fprintf(p.to, "No service runs on %s. This is what it knew %s ago, at %s. Start it: systemctl start felhom-agent\n", p.Node, text.Ago(now.Sub(p.Written)), p.at(p.Written))
	case p.Refreshed.IsZero():
		quote.Fprintf(p.to, "felhom-agent %s, watching since %s, has not seen its node yet\n", p.Version, p.at(p.Since))
	default:
		unchanged := ""
		if !p.Unchanged.IsZero() {
			unchanged = ", unchanged at " + p.local(p.Unchanged).Format(time.TimeOnly)
		}
		quote.Fprintf(p.to, "felhom-agent %s on %s, watching since %s, last refresh %s (%s ago)%s\n", p.Version, p.Node, p.at(p.Since), p.Refreshed.Format(time.TimeOnly), text.Ago(p.clock.Sub(p.Refreshed)), unchanged)
	}
}

// summary is the line of what is as declared, of holds, and of what expires.
func (p *printed) summary() {
	hold := "none"
	var holds []string
	for _, h := range p.Holds {
		if h.Kind == state.HoldPerson {
			text := h.Name
			if !h.Until.IsZero() {
				text += " until " + p.at(h.Until)
			}
			if h.Why != "" {
				text += " (" + h.Why + ")"
			}
			holds = append(holds, text)
		}
	}
	if len(holds) > 0 {
		hold = strings.Join(holds, ", ")
	}
	if !p.Written.IsZero() {
		far := p.tally().Rest()
		if far != "" {
			far = ", " + far
		}
		quote.Fprintf(p.to, "%d of %d as declared%s. ", p.Fine, p.Of, far)
	}
	quote.Fprintf(p.to, "Hold: %s.", hold)
	for _, line := range p.Expiry {
		quote.Fprintf(p.to, " %s.", line)
	}
	if p.Commit != "" {
		quote.Fprintf(p.to, " Desired state: commit %s.", text.Clip(p.Commit, 12))
	}
	quote.Fprintf(p.to, "\n\n")
}

// far is how long an operation has run, and the last line of its log.
func (p *printed) far(e *journal.HistoryEntry) (elapsed time.Duration, line string) {
	if n := len(e.Log); n > 0 {
		line = e.Log[n-1]
	}
	return max(p.clock.Sub(e.Time), 0), line
}

// tally is how far all is.
func (p *printed) tally() *view.Tally {
	t := &view.Tally{Fine: p.Fine, Of: p.Of, Ahead: p.Ahead}
	for _, e := range p.Now {
		elapsed, line := p.far(&e)
		t.Run(e.Object, e.Verb, elapsed, line, e.Usual)
	}
	return t
}

// row prints a row of the table.
func (p *printed) row(mark, object, text string) {
	p.rows++
	quote.Fprintf(p.to, "  %-6s %-20s %s\n", mark, object, text)
}

// table prints what is wrong, what runs, what is blocked, and what has drifted.
func (p *printed) table() {
	for _, text := range p.Errors {
		p.rows++
		quote.Fprintf(p.to, "  %-6s %s\n", "!", text)
	}
	for _, e := range p.Now {
		elapsed, line := p.far(&e)
		percent, text := text.Percent, fmt.Sprintf("%s   %s", text.OrElse(e.Text, e.Verb), text.Elapsed(elapsed))
		if far := view.Doing(elapsed, line, e.Usual); far != "" {
			text += ", " + far
		}
		if _, told := percent(line); line != "" && !told {
			text += ", " + line
		}
		p.row("now", e.Object, text)
	}
	said := view.Alike{}
	for _, h := range p.Blocked {
		t := h.Reason
		if len(h.Fix) > 0 {
			t += ". " + text.Sentence(strings.Join(h.Fix, "; "))
		}
		if first, ok := said.Before(&h); ok {
			t = "as " + first.String()
		}
		p.row("!", h.Object.String(), t)
	}
	for _, n := range p.Notes {
		if !n.Drift {
			continue
		}
		text := fmt.Sprintf("%s, by %s", n.Text, n.By)
		if since, ok := p.Drift[plan.DriftKey(n)]; ok {
			text += ", seen since " + p.at(since)
		}
		text += " (reported, not healed)"
		p.row("drift", n.Object.String(), text)
	}
}

// backups prints what can be brought back, and when the next is due.
func (p *printed) backups() {
	if len(p.Backups) > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(p.Backups)) {
			last := p.Backups[name]
			if last.Time.IsZero() {
				parts = append(parts, name+" NEVER")
				continue
			}
			parts = append(parts, fmt.Sprintf("%s %s %s", name, p.local(last.Time).Format("2 Jan 15:04"), text.OrElse(last.Disk, last.Storage)))
		}
		quote.Fprintf(p.to, "  last good backup   %s\n", strings.Join(parts, "    "))
	}
	p.tests()
	for _, kit := range p.Kits {
		quote.Fprintf(p.to, "  recovery kit       %s\n", kitText(kit, p.local(kit.Time), p.clock))
	}
	if !p.Due.IsZero() {
		quote.Fprintf(p.to, "  next due           %s\n", p.at(p.Due))
	}
}
