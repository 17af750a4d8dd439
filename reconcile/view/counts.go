package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// writeCounts prints the line of what needs nothing, and with -v the names behind its numbers.
func writeCounts(w io.Writer, p *plan.Plan, fine int, o TextOptions) {
	counts := []string{text.Count(fine, "object is", "objects are") + " as declared"}
	if n := len(p.Uncovered); n > 0 {
		counts = append(counts, text.Count(n, "guest is", "guests are")+" in no backup")
	}
	if n := len(p.Unmanaged); n > 0 {
		verb := "are"
		if n == 1 {
			verb = "is"
		}
		counts = append(counts, fmt.Sprintf("%s %s not managed", plan.CountUnmanaged(p.Unmanaged), verb))
	}
	hint := " (-v lists them)"
	if o.Verbose || fine+len(p.Uncovered)+len(p.Unmanaged) == 0 {
		hint = ""
	}
	quote.Fprintf(w, "  %s%s.\n", strings.Join(counts, ", "), hint)
	if o.Verbose {
		list(w, "in no backup", p.Uncovered, o)
		list(w, "not managed", p.Unmanaged, o)
	}
}

// list prints names behind a word, in one paragraph.
func list[T fmt.Stringer](w io.Writer, word string, all []T, o TextOptions) {
	if len(all) == 0 {
		return
	}
	var names []string
	for _, one := range all {
		names = append(names, one.String())
	}
	quote.Fprintf(w, "  %s\n", quote.Own(wrap(quote.Line(word+": "+strings.Join(names, ", ")+"."), "    ", o.Width)))
}
