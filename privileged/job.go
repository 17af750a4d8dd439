package privileged

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// job is an operation that passed its rule, while it is carried out. All that changes the machine goes through its fields machine and its method run.
type job struct {
	diskReader
	machine  Host
	progress func(line string)
	result   Result // what the operation has to say
}

// span is how long an operation may go on for one who waits until ctx ends: to its end, or for the rule's limit, but then so that the answer is still in time.
func (r rule) span(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if r.limit == 0 {
		return context.WithCancel(free)
	}
	limit := r.limit
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		limit = min(limit, left-min(left/4, 3*time.Second))
	}
	return context.WithTimeout(free, limit)
}

// run runs a program for an operation and turns an exit code other than 0 into a FailedError.
func (j *job) run(program string, args ...string) ([]byte, error) {
	return j.runIn(j.ctx, program, args...)
}

// runIn is run for as long as ctx goes on.
func (j *job) runIn(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, exit, err := j.machine.Run(ctx, program, args, j.progress)
	j.result.Output = tail(j.result.Output+string(out), maxOutput)
	if err != nil {
		return out, &FailedError{Op: j.op, Program: program, Args: args, Reason: err.Error()}
	}
	if exit != 0 {
		return out, &FailedError{Op: j.op, Program: program, Args: args, Exit: exit, Output: tail(string(out), maxTail)}
	}
	return out, nil
}

func (j *job) note(format string, a ...any) {
	j.result.Notes = append(j.result.Notes, fmt.Sprintf(format, a...))
}

const (
	maxOutput = 64 << 10 // of what a Result carries
	maxTail   = 4 << 10  // of what an error carries
)

// tail is the end of s, at most n bytes, from the beginning of a line where it was cut.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		s = s[i+1:]
	}
	return strings.ToValidUTF8(s, "")
}
