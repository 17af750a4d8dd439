// Package refusal is how PVE says no: a status, a text, and the parameters that were wrong.
// Whatever refuses makes its error here; the HTTP layer alone turns it into an answer.
package refusal

import (
	"errors"
	"fmt"
)

// A Refusal is an answer that is no 200.
type Refusal struct {
	Code   int
	Text   string
	Errors map[string]string
	Bare   bool // the HTTP layer's own: no JSON
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Fail is a plain Perl die: 500 with its text.
func Fail(format string, args ...any) error {
	if len(args) == 0 {
		return &Refusal{Code: 500, Text: format}
	}
	return &Refusal{Code: 500, Text: fmt.Sprintf(format, args...)}
}

// Forbid is a 403. PVE: raise_perm_exc.
func Forbid(what string) error {
	if what == "" {
		return &Refusal{Code: 403, Text: "Permission check failed"}
	}
	return &Refusal{Code: 403, Text: "Permission check failed (" + what + ")"}
}

// BadParam is a 400 with an errors map. PVE: raise_param_exc.
func BadParam(pairs ...string) error {
	errs := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		errs[pairs[i]] = pairs[i+1]
	}
	return &Refusal{Code: 400, Text: "Parameter verification failed.", Errors: errs}
}

// InTask is how an exception reads in a task's exit status: with its code in front.
func InTask(err error) string {
	var r *Refusal
	if errors.As(err, &r) && r.Code != 500 {
		return fmt.Sprintf("%d %s", r.Code, r.Text)
	}
	return err.Error()
}
