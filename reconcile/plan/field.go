package plan

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/text"
)

// Said is what the operation does in one line, for the journal and for those who watch a run.
func (a *Action) Said() string { return said(a.Symbol, a.Text, a.Fields) }

// String is what the step does in one line.
func (l Deferred) String() string { return l.Said() }

func (l *Deferred) Said() string { return said(l.Symbol, l.Text, l.Fields) }

func said(symbol Symbol, text string, fields []Field) string {
	var parts []string
	if text != "" {
		parts = append(parts, text)
	}
	if symbol != Restart || text == "" { // a restart's text says it
		for _, f := range fields {
			parts = append(parts, strings.Join(strings.Fields(FieldText(f)), " "))
		}
	}
	if len(parts) == 0 {
		return "the ownership marker in its Notes"
	}
	return strings.Join(parts, ", ")
}

// FieldText is "memory      2048 -> 4096 MiB".
func FieldText(f Field) string {
	old, new := f.Old, f.New
	for _, unit := range []string{" MiB"} {
		if strings.HasSuffix(old, unit) && strings.HasSuffix(new, unit) {
			old = strings.TrimSuffix(old, unit)
		}
	}
	return fmt.Sprintf("%-11s %s -> %s", f.Name, text.OrElse(old, "(unset)"), text.OrElse(new, "(unset)"))
}
