package refresh

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-agent/proxmox"
)

// keep turns an error that concerns one thing into a fact about that thing, and
// lets errors of the whole connection end the look.
func (l *Reader) keep(err error, place *error, found func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		found()
		return nil
	case proxmox.IsDenied(err):
		if l.facts != nil {
			l.facts.at = time.Time{} // the rights have changed: ask again next time
		}
	case proxmox.IsUnauthorized(err), proxmox.IsNotDelivered(err):
		return err
	}
	if !OfOneThing(err) {
		return err
	}
	*place = err
	return nil
}

// OfOneThing reports whether an error can concern the thing alone that was asked for: PVE
// refused, its answer was not understood, or the connection broke again and again, while
// those before it were fine.
func OfOneThing(err error) bool {
	_, refused := errors.AsType[*proxmox.APIError](err)
	_, odd := errors.AsType[*proxmox.AnswerError](err)
	broke, _ := errors.AsType[*proxmox.TransportError](err)
	return refused || odd || broke != nil && broke.Sent && !errors.Is(err, context.Canceled)
}

// reads are GETs that are sent side by side. A panic in one of them ends the look
// with an error, not the program.
type reads struct{ *errgroup.Group }

func NewReads(ctx context.Context) (*reads, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &reads{g}, ctx
}

// Go runs one of them.
func (r *reads) Go(f func() error) {
	r.Group.Go(func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("a mistake in this program: %v\n%s", p, debug.Stack())
			}
		}()
		room()
		return f()
	})
}

// room grows the stack at once to what a read needs, so that it is not copied again and again on
// the way down.
//
//go:noinline
func room() (used byte) {
	var stack [14 << 10]byte
	for i := 0; i < len(stack); i += 4 << 10 {
		used |= stack[i]
	}
	return used
}
