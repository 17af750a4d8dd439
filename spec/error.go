package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/quote"
)

// Error is one mistake in a file: where it is, what is wrong and how to put it
// right.
type Error struct {
	File    string
	Line    int    // 0: the whole file
	Field   string // "restores.web.config.memory", empty: none in particular
	Message string // begins small, without a full stop
	Fix     string // a sentence
}

// Error is "pve1.yaml:44: restores.web.vmid: MESSAGE. CURE"; what was expected follows a colon.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(Pos{e.File, e.Line}.String())
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	switch {
	case strings.HasPrefix(e.Fix, sayExpected):
		b.WriteString(": " + e.Fix)
	case e.Fix != "":
		b.WriteString(". " + e.Fix)
	}
	return b.String()
}

// sayExpected begins the fix of an invalid value.
const sayExpected = "expected "

// faults gathers mistakes.
type faults struct {
	list []*Error
	more int // that are not in the list
}

// Limits of what is said, in characters and in mistakes.
const (
	longestText  = 600
	mostMistakes = 1000
)

// add notes a mistake. What a file says is quoted in it, so it is made fit to be
// shown first.
func (f *faults) add(e *Error) {
	if f.more > 0 || len(f.list) == mostMistakes {
		f.more++
		return
	}
	key := e.Field
	e.File, e.Field = fit(key, e.File, "…"), fit(key, e.Field, "…")
	e.Message, e.Fix = fit(key, e.Message, "…"), fit(key, e.Fix, "….")
	f.list = append(f.list, e)
}

func fit(key, s, cut string) string {
	if short := shortened(s, longestText); short != s {
		s = strings.TrimSuffix(short, "…") + cut
	}
	return quote.Line(quote.Beside(key, s))
}

// err is nil or all mistakes, by file, then by line, each said once: what an
// anchor carries to ten objects at one line is ten mistakes only where the
// fields differ.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
	f.list = slices.CompactFunc(f.list, func(a, b *Error) bool { return *a == *b })
	all := &multierror.Error{ErrorFormat: func(errs []error) string {
		lines := make([]string, len(errs))
		for i, err := range errs {
			lines[i] = err.Error()
		}
		return strings.Join(lines, "\n")
	}}
	for _, e := range f.list {
		all.Errors = append(all.Errors, e)
	}
	if f.more > 0 {
		last := f.list[len(f.list)-1]
		all.Errors = append(all.Errors, &Error{File: last.File, Line: last.Line, Message: fmt.Sprintf("%d more mistakes are not listed", f.more), Fix: "Correct these first."})
	}
	return all
}

// apart splits the errors of package proxmox, which read "what is wrong: what
// to do", "invalid thing: expected such" or "what is wrong, write such and such", into message and fix.
func apart(err error) (message, fix string) {
	text := err.Error()
	for _, verb := range []string{": expected ", ", expected ", ", write ", ", keep "} {
		if i := strings.LastIndex(text, verb); i >= 0 {
			return text[:i], sentence(text[i+2:])
		}
	}
	i := strings.LastIndex(text, ": ")
	if i < 0 {
		return text, ""
	}
	return text[:i], sentence(text[i+2:])
}

// each unpacks joined errors.
func each(err error, f func(error)) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			each(e, f)
		}
	} else if err != nil {
		f(err)
	}
}

func sentence(s string) string {
	if !strings.HasPrefix(s, sayExpected) {
		r, n := utf8.DecodeRuneInString(s)
		s = string(unicode.ToUpper(r)) + s[n:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
