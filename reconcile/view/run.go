package view

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// WriteRunHeader prints the first line of a run; nothing where there is nothing to do.
func WriteRunHeader(w io.Writer, p *plan.Plan, o TextOptions) {
	if !p.Changes() {
		return
	}
	quote.Fprintf(w, "%s, %s: %s. %s\n", p.Header.Node, p.Header.Refreshed.Format(text.DateLayout), summary(p, false), destroys(p))
	for _, l := range p.Steps() {
		if l.Effect != plan.Destroying {
			continue
		}
		quote.Fprintf(w, "  %s %s  %s\n", l.Symbol, l.Object, l.Text)
		for _, line := range l.Detail {
			quote.Fprintf(w, "      %s\n", line)
		}
	}
}

// WriteReport prints the last lines of a run: how many objects are as declared, and
// each that is not, with what to do. A run that had nothing to do prints one line.
func WriteReport(w io.Writer, r *applying.Report, o TextOptions) error {
	b := bufio.NewWriter(w)
	defer b.Flush()
	fine, all := r.Converged(), len(r.Plan.Objects)
	if r.Sent == 0 && fine == all && len(r.Failed) == 0 {
		quote.Fprintf(b, "%s: converged %d of %d objects.\n", r.Plan.Header.Node, fine, all)
		return nil
	}
	if r.Sent > 0 {
		fmt.Fprintln(b)
	}
	if n := len(r.Plan.Running); n > 0 {
		quote.Fprintf(b, "%d of %d so far, %d running.\n", fine, all, n)
	} else {
		quote.Fprintf(b, "Converged %d of %d objects.\n", fine, all)
	}
	var lines []line
	for _, run := range r.Plan.Running {
		lines = append(lines, line{object: run.Object, symbol: "running", text: fmt.Sprintf("%s, since %s", text.OrElse(run.Text, run.Verb), run.Since.Format("15:04:05"))})
	}
	failed := map[spec.Ref]bool{}
	for i := len(r.Failed) - 1; i >= 0; i-- {
		if e := r.Failed[i]; !failed[e.Object] && !slices.Contains(r.Plan.AsDeclared(), e.Object) {
			failed[e.Object] = true
			text := fmt.Sprintf("%s: %s", e.Verb, e.Text)
			for _, l := range e.Lines { // that it does not run now is what matters at two in the morning
				if strings.HasSuffix(l.Label, applying.IsNow) && l.Text != "RUNNING" {
					text += fmt.Sprintf("       (is %s)", strings.TrimSuffix(l.Text, applying.RanBefore))
				}
			}
			lines = append(lines, line{object: e.Object, symbol: "FAILED", text: text})
		}
	}
	lines = append(lines, blockedLines(r.Plan, failed)...)
	for _, l := range r.Plan.Deferred {
		lines = append(lines, line{object: l.Object, symbol: "waits", text: l.Said() + ", " + l.Waits})
	}
	for _, text := range r.Waits {
		object, why, _ := strings.Cut(text, ": ")
		ref, _ := spec.ParseRef(object)
		lines = append(lines, line{object: ref, symbol: "waits", text: why})
	}
	for _, text := range r.Overdue {
		object, why, _ := strings.Cut(text, " ")
		ref, _ := spec.ParseRef(object)
		lines = append(lines, line{object: ref, symbol: "overdue", text: "gave up waiting; it still runs and will be adopted: " + why})
	}
	width := 16
	for _, l := range lines {
		width = max(width, min(len(l.object.String()), 34))
	}
	for _, l := range lines {
		quote.Fprintf(b, "  %s %-*s  %s\n", quote.Own(o.alarming(string(l.symbol), 8)), width, l.object, quote.Own(wrap(quote.Line(l.text), strings.Repeat(" ", width+13), o.Width)))
	}
	return nil
}

// blockedLines are what is blocked, each cause once, with its fix. While own work is in flight that
// may be what is in the way: then it waits, and nothing is advised. What failed is told already.
func blockedLines(p *plan.Plan, failed map[spec.Ref]bool) (lines []line) {
	said := Alike{}
	for _, h := range p.Blocked {
		if failed[h.Object] {
			continue
		}
		symbol, text := plan.Symbol("blocked"), h.Reason
		if len(p.Running) > 0 {
			symbol = "waits"
		} else if len(h.Fix) > 0 {
			text += ": " + strings.Join(h.Fix, "; ")
		}
		if first, ok := said.Before(&h); ok {
			text = "as " + first.String()
		}
		lines = append(lines, line{object: h.Object, symbol: symbol, text: text + h.Place()})
	}
	return lines
}
