package privileged

import "errors"

// admitted is what was asked for and has passed its rule. It has no way to the machine: the errors that it makes are decisions about it.
type admitted struct {
	node string
	op   string // the name of the operation or query
	args map[string]string
}

// refuse makes the error of a check that needs more than the text of the request.
func (r admitted) refuse(arg, reason, fix string) error {
	return &RefusedError{Op: r.op, Arg: arg, Value: r.args[arg], Reason: reason, Fix: fix}
}

// wait is refuse for what is in the way and passes.
func (r admitted) wait(arg, reason, fix string) error {
	return &RefusedError{Op: r.op, Arg: arg, Value: r.args[arg], Reason: reason, Fix: fix, Busy: true}
}

// miss is refuse for what is not there.
func (r admitted) miss(arg, reason, fix string) error {
	return &RefusedError{Op: r.op, Arg: arg, Value: r.args[arg], Reason: reason, Fix: fix, Missing: true}
}

// failed wraps an error of the host's.
func (r admitted) failed(err error, doing string) error {
	var failed *FailedError
	var refused *RefusedError
	if errors.As(err, &failed) || errors.As(err, &refused) {
		return err
	}
	return &FailedError{Op: r.op, Reason: doing + ": " + err.Error()}
}
