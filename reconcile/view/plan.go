package view

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muesli/termenv"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// TextOptions say how a plan or a run is printed for people.
type TextOptions struct {
	Verbose bool       // also list what is as declared, and the route of each operation
	Colour  bool       //
	Live    bool       // a terminal: running lines are written over each other
	Width   int        // of the terminal; 0: do not wrap
	Desired string     // the path, as it was typed
	Args    string     // options and PATH of this call that another one needs too, as they were typed: " --simulate=node.yaml desired"
	Only    []spec.Ref // what was named with --only
	// OnlyTyped are the values of --only as they were typed.
	OnlyTyped []string
	Asks      bool // you are asked next: no command is offered
	// Simulated is set where no real node is behind what is printed.
	Simulated bool
}

// nodeText names a node, and says when it is none.
func (o TextOptions) nodeText(node string) string {
	if o.Simulated {
		return node + " (simulated)"
	}
	return node
}

// A line is one entry of a plan's text.
type line struct {
	symbol plan.Symbol
	object spec.Ref
	label  string // in place of the object, where several are told together
	text   string
	when   string
	below  []string
	held   *plan.Blocked // where it is held, why
}

// Alike are the objects that are held, by reason and fix: what an object before has
// said is not said again.
type Alike map[string]spec.Ref

// Before is the first object that is held as h is, where that is another one.
func (a Alike) Before(h *plan.Blocked) (spec.Ref, bool) {
	key := strings.Join(append([]string{h.Reason}, h.Fix...), "\n")
	first, ok := a[key]
	if !ok {
		a[key] = h.Object
	}
	return first, ok && first != h.Object
}

// planLines arranges a plan by object, in the order of the objects.
func planLines(p *plan.Plan, o TextOptions) []line {
	byObject := linesByObject(p, o)
	fine := asDeclared(p)
	said := Alike{}
	var all []line
	for _, ref := range p.Objects {
		if (o.Verbose || slices.Contains(o.Only, ref)) && slices.Contains(fine, ref) {
			all = append(all, line{symbol: plan.AsWritten, object: ref, text: "as declared"})
		}
		for _, l := range byObject[ref] {
			if l.held != nil {
				if first, ok := said.Before(l.held); ok {
					l.text, l.below = fmt.Sprintf("as %s%s", first, l.held.Place()), nil
				}
			}
			all = append(all, l)
		}
		delete(byObject, ref)
	}
	for _, n := range p.Notes { // of objects that have left
		all = append(all, byObject[n.Object]...)
		delete(byObject, n.Object)
	}
	if !o.Verbose {
		all = together(all)
	}
	return all
}

// linesByObject are the lines of each object: what is done, runs, waits and is blocked, then the notes.
func linesByObject(p *plan.Plan, o TextOptions) map[spec.Ref][]line {
	byObject := map[spec.Ref][]line{}
	add := func(l line) { byObject[l.object] = append(byObject[l.object], l) }
	for _, a := range p.Actions {
		for _, l := range actionLines(a, o) {
			add(l)
		}
	}
	for _, r := range p.Running {
		add(line{symbol: plan.Power, object: r.Object, text: text.OrElse(r.Text, r.Verb), when: "running since " + r.Since.Format("15:04:05")})
	}
	for _, l := range p.Deferred {
		add(line{symbol: l.Symbol, object: l.Object, text: l.Said(), when: l.Waits, below: l.Detail})
	}
	for i := range p.Blocked {
		h := &p.Blocked[i]
		fix := strings.Join(h.Fix, "; ")
		if fix != "" {
			fix = text.Sentence(fix)
		}
		add(line{symbol: plan.Block, object: h.Object, text: strings.TrimRight(h.Reason, ".") + ".", below: []string{strings.TrimSpace(fix + h.Place())}, held: h})
	}
	for _, n := range p.Notes {
		add(line{symbol: plan.Remark, object: n.Object, text: n.String()})
	}
	return byObject
}

// actionLines are the lines of an action: its text, and one for each field that it changes.
func actionLines(a plan.Action, o TextOptions) (lines []line) {
	when := a.When
	if when == "now" {
		when = ""
	}
	below := slices.Clone(a.Detail)
	if o.Verbose {
		below = append(below, a.Route())
	}
	text := a.Text
	if len(a.Fields) == 0 || text != "" {
		lines = append(lines, line{symbol: a.Symbol, object: a.Object, text: text, when: when, below: below})
		below = nil
	}
	for i, f := range a.Fields {
		if a.Symbol == plan.Restart && text != "" {
			break // the text says it
		}
		symbol := a.Symbol
		if strings.HasPrefix(f.When, "needs a restart (restart: auto)") {
			symbol = plan.Restart
		}
		if i > 0 {
			below = nil
		}
		lines = append(lines, line{symbol: symbol, object: a.Object, text: plan.FieldText(f), when: f.When, below: below})
	}
	return lines
}

// WritePlan prints the plan as in the manual: what is looked at, one line per change
// with its symbol, what is blocked and the fix, and what is destroyed, also when
// that is nothing.
func WritePlan(w io.Writer, p *plan.Plan, o TextOptions) error {
	b := bufio.NewWriter(w)
	h, fine := p.Header, asDeclared(p)
	version := "sha " + text.Clip(h.Hash, 6)
	if h.Commit != "" {
		version = "commit " + text.Clip(h.Commit, 12)
	}
	quote.Fprintf(b, "%s, PVE %s, refreshed %s (%s, %s)   desired: %s, %s, %s\n\n", o.nodeText(h.Node), h.Version, h.Refreshed.Format(text.DateLayout),
		text.Count(h.Requests, "request", "requests"), h.Elapsed, cmp.Or(o.Desired, h.Desired), text.Count(h.Files, "file", "files"), version)
	lines := planLines(p, o)
	writeLines(b, p, lines, o)
	if len(lines) > 0 {
		fmt.Fprintln(b)
	}
	writeCounts(b, p, len(fine), o)
	if len(h.Elsewhere) > 0 {
		quote.Fprintf(b, "  elsewhere: %s.\n", strings.Join(h.Elsewhere, ", "))
	}
	if len(lines) == 0 || !p.Changes() && len(p.Blocked) == 0 {
		quote.Fprintf(b, "\nPlan: nothing to do. Destroys nothing.\n")
		return b.Flush()
	}
	quote.Fprintf(b, "\nPlan: %s. %s\n", text.OrElse(summary(p, true), "nothing to do"), destroys(p))
	if p.Changes() && !o.Asks {
		only := ""
		for _, name := range o.OnlyTyped {
			if strings.ContainsAny(name, "*?[") {
				name = "'" + name + "'"
			}
			only += " --only " + name
		}
		quote.Fprintf(b, "Next: felhom-agent --once%s%s", only, o.Args)
		if ref, ok := p.First(); ok && len(o.Only) == 0 {
			gap := "         "
			if o.Args != "" {
				gap = "\n      "
			}
			quote.Fprintf(b, "%sonly one: felhom-agent --once --only %s%s", quote.Own(gap), ref, o.Args)
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

func writeLines(w io.Writer, p *plan.Plan, lines []line, o TextOptions) {
	colours := termenv.NewOutput(w, termenv.WithProfile(termenv.Ascii))
	if o.Colour {
		colours = termenv.NewOutput(w, termenv.WithProfile(termenv.ANSI))
	}
	width := 20
	for _, l := range lines {
		width = max(width, min(len(l.named()), 34))
	}
	indent := strings.Repeat(" ", width+6)
	for _, l := range lines {
		text := l.text
		if l.when != "" {
			text = fmt.Sprintf("%-50s  %s", text, l.when)
			if o.Width > 0 && utf8.RuneCountInString(text) > o.Width-len(indent) { // on a line of its own
				text, l.below = l.text, append([]string{l.when}, l.below...)
			}
		}
		symbol := colours.String(string(l.symbol)).Foreground(colours.Color(colourOf[l.symbol])).String()
		quote.Fprintf(w, "  %s %-*s  %s\n", quote.Own(symbol), width, l.named(), quote.Own(strings.TrimRight(wrap(quote.Line(text), indent, o.Width), " ")))
		for _, below := range l.below {
			if below != "" {
				quote.Fprintf(w, "%s%s\n", indent, quote.Own(wrap(quote.Line(below), indent, o.Width)))
			}
		}
	}
}

var colourOf = map[plan.Symbol]string{plan.Create: "2", plan.Change: "3", plan.Restart: "5", plan.Power: "6", plan.Delete: "1", plan.Block: "1", plan.Remark: "8", plan.AsWritten: "8"}

// wrap breaks a long text into lines that begin at the indent.
func wrap(text, indent string, width int) string {
	room := width - len(indent)
	if width == 0 || room < 30 || utf8.RuneCountInString(text) <= room {
		return text
	}
	var b strings.Builder
	n := 0
	for i, word := range strings.Split(text, " ") {
		size := utf8.RuneCountInString(word)
		if i > 0 && n+1+size > room {
			b.WriteString("\n" + indent)
			n = 0
		} else if i > 0 {
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += size
	}
	return b.String()
}

// asDeclared are the objects with nothing to do, nothing blocked and no drift.
func asDeclared(p *plan.Plan) []spec.Ref {
	return slices.DeleteFunc(p.AsDeclared(), func(ref spec.Ref) bool {
		return slices.ContainsFunc(p.Notes, func(n plan.Note) bool { return n.Drift && n.Object == ref })
	})
}
