package reconcile

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/spec"
)

// ExitCode is that of --once: 0 converged, 1 a step failed, 5 gave up waiting, 3
// something stayed.
func (r *Report) ExitCode() int {
	switch {
	case len(r.Failed) > 0 && !r.mended(), slices.ContainsFunc(r.Plan.Held, func(h Held) bool { return h.Failed }):
		return 1
	case len(r.Overdue) > 0:
		return 5
	case len(r.Plan.Held) > 0 || r.Plan.Changes():
		return 3
	}
	return 0
}

// mended reports whether all that failed in this run was done by a later act of it.
func (r *Report) mended() bool { return len(r.Plan.Held) == 0 && !r.Plan.Changes() }

// WriteRunHeader prints the first line of a run; nothing where there is nothing to do.
func (p *Plan) WriteRunHeader(w io.Writer, o TextOptions) {
	if !p.Changes() {
		return
	}
	fmt.Fprintf(w, "%s, %s: %s. %s\n", p.Header.Node, p.Header.Looked.Format(dateLayout), p.summary(false), p.destroys())
}

// WriteText prints the last lines of a run: how many objects are as declared, and
// each that is not, with what to do. A run that had nothing to do prints one line.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	b := bufio.NewWriter(w)
	defer b.Flush()
	fine, all := r.Converged(), len(r.Plan.Objects)
	if r.Sent == 0 && fine == all && len(r.Failed) == 0 {
		fmt.Fprintf(b, "%s: converged %d of %d objects.\n", r.Plan.Header.Node, fine, all)
		return nil
	}
	if r.Sent > 0 {
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "Converged %d of %d objects.\n", fine, all)
	var lines []line
	failed := map[spec.Ref]bool{}
	for i := len(r.Failed) - 1; i >= 0; i-- {
		if e := r.Failed[i]; !failed[e.Object] && !slices.Contains(r.Plan.AsDeclared(), e.Object) {
			failed[e.Object] = true
			text := fmt.Sprintf("%s: %s", e.Verb, e.Text)
			for _, l := range e.Lines { // that it does not run now is what matters at two in the morning
				if strings.HasSuffix(l.Label, isNow) && l.Text != "RUNNING" {
					text += fmt.Sprintf("       (is %s)", strings.TrimSuffix(l.Text, ranBefore))
				}
			}
			lines = append(lines, line{object: e.Object, symbol: "FAILED", text: text})
		}
	}
	said := alike{}
	for _, h := range r.Plan.Held {
		if failed[h.Object] {
			continue
		}
		text := h.Reason
		if len(h.Cure) > 0 {
			text += ": " + strings.Join(h.Cure, "; ")
		}
		if first, ok := said.before(&h); ok {
			text = "as " + first.String()
		}
		lines = append(lines, line{object: h.Object, symbol: "blocked", text: text + h.place()})
	}
	for _, l := range r.Plan.Laters {
		lines = append(lines, line{object: l.Object, symbol: "waits", text: l.Text + ", " + l.Waits})
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
		fmt.Fprintf(b, "  %-8s %-*s  %s\n", l.symbol, width, l.object, wrap(l.text, strings.Repeat(" ", width+13), o.Width))
	}
	return nil
}
