package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muesli/termenv"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// Progress prints the lines of a run as they happen: one per change of state, and on
// a terminal the running ones below, written over each other.
type Progress struct {
	mu      sync.Mutex
	w       io.Writer
	o       TextOptions
	running map[string]applying.Event
	order   []string
	shown   int
	plan    *plan.Plan // of the last pass; nil: none yet
	usual   UsualTime
}

// NewProgress prints to w.
func NewProgress(w io.Writer, o TextOptions) *Progress {
	return &Progress{w: w, o: o, running: map[string]applying.Event{}, usual: func(string, string, string) time.Duration { return 0 }}
}

// Passed takes over what a pass has found, and how long things usually take: the last live line says how far all is.
func (p *Progress) Passed(found *plan.Plan, usual UsualTime) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.plan, p.usual = found, usual
	p.draw()
}

// Event prints one event. It is safe for concurrent use.
func (p *Progress) Event(e applying.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := e.Object.String() + " " + e.Verb + " " + e.UPID
	p.clear()
	switch e.State {
	case "running":
		if _, known := p.running[key]; !known {
			p.order = append(p.order, key)
		}
		p.running[key] = e
	default:
		delete(p.running, key)
		p.order = slices.DeleteFunc(p.order, func(k string) bool { return k == key })
		p.print(e)
	}
	p.draw()
}

func (p *Progress) print(e applying.Event) {
	s := e.Text
	switch {
	case e.State == "started" && s == "" && p.o.Verbose:
		s = e.UPID
	case e.State == "started" && s == "":
		s = e.What
	case e.State == "started" && !p.o.Verbose: // the route; what it does stands where it is done
		s, _, _ = strings.Cut(s, ": ")
	case e.State == "ok" && s == "":
		took := ""
		if e.Elapsed >= time.Second {
			took = text.Elapsed(e.Elapsed)
		}
		s = fmt.Sprintf("%-7s %s", took, e.What)
	case len(e.Lines) > 0 && e.Lines[0].Text == e.Text && e.Elapsed < time.Second: // the lines say it
		s = ""
	case len(e.Lines) > 0 && e.Lines[0].Text == e.Text:
		s = "after " + text.Elapsed(e.Elapsed)
	case e.State == "FAILED" && e.Elapsed >= time.Second:
		s = "after " + text.Elapsed(e.Elapsed) + ": " + s
	}
	fmt.Fprintln(p.w, strings.TrimRight(quote.Sprintf("%s  %-20s %-12s %s %s", e.Time.Format(time.TimeOnly), e.Object, e.Verb, quote.Own(p.o.alarming(e.State, 8)), s), " "))
	for _, l := range e.Lines {
		quote.Fprintf(p.w, "          %-20s %s\n", l.Label, l.Text)
	}
}

// clear takes the live lines away, and draw puts them below again.
func (p *Progress) clear() {
	if p.o.Live && p.shown > 0 {
		quote.Fprintf(p.w, "\x1b[%dA\x1b[J", p.shown)
		p.shown = 0
	}
}

var spinner = []string{"|", "/", "-", "\\"}

func (p *Progress) draw() {
	if !p.o.Live {
		return
	}
	for _, key := range p.order {
		e := p.running[key]
		e.Elapsed = max(e.Elapsed, 0)
		said := text.OrElse(e.Text, e.What)
		if _, ok := text.Percent(e.Text); ok {
			said = e.What
		}
		if far := Doing(e.Elapsed, e.Text, p.usual(e.Object.String(), e.Verb, e.What)); far != "" {
			said = far + "   " + said
		}
		p.live(quote.Sprintf("      %s   %-20s %-12s %-8s %s", spinner[int(e.Elapsed.Seconds())%len(spinner)], e.Object, e.Verb, text.Elapsed(e.Elapsed), said))
	}
	if p.plan != nil && len(p.order) > 0 {
		p.live("      " + p.tally().String())
	}
}

// live prints a line that is written over later.
func (p *Progress) live(text string) {
	if runes := []rune(text); p.o.Width > 0 && len(runes) > p.o.Width-1 {
		text = string(runes[:p.o.Width-1])
	}
	fmt.Fprintln(p.w, text)
	p.shown++
}

// tally is how far all is.
func (p *Progress) tally() *Tally {
	begun := map[string]bool{}
	t := &Tally{Fine: len(p.plan.AsDeclared()), Of: len(p.plan.Objects)}
	for _, key := range p.order {
		e := p.running[key]
		object := e.Object.String()
		begun[object+e.Verb+e.What] = true
		t.Run(object, e.Verb, max(e.Elapsed, 0), e.Text, p.usual(object, e.Verb, e.What))
	}
	t.Ahead = AheadOf(p.plan, p.usual, func(object, verb, what string) bool { return begun[object+verb+what] })
	return t
}

// alarming is a state in so many columns, red where it is bad news and there are colours.
func (o TextOptions) alarming(state string, columns int) string {
	text := fmt.Sprintf("%-*s", columns, state)
	if o.Colour && (state == "FAILED" || state == "REFUSED") {
		return termenv.NewOutput(io.Discard, termenv.WithProfile(termenv.ANSI)).String(text).Foreground(termenv.ANSIRed).String()
	}
	return text
}
