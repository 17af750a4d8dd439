package proxmox

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// View reads. It has no way to change anything. The View of Client.Look sends
// each distinct request once and answers repetitions, failures included, from
// memory: everything read through it belongs to one look at the world. The
// View inside a Client asks anew each time. Both are safe for concurrent use.
type View struct {
	conn *conn

	mu       sync.Mutex
	memo     map[string]*answer // nil: remember nothing
	requests int
	now      time.Time
}

type answer struct {
	done  chan struct{} // closed when the other fields are set
	reply *reply
	err   error
	void  bool // the asker gave up: ask again

	recalled bool // an earlier look asked
}

// Recall makes a look answer with what an earlier one was told, as far as still
// says that it holds; nothing that this look has asked already, and no failure. A
// request is named by its path and query: /nodes/pve1/lxc/111/config?snapshot=a.
func (v *View) Recall(earlier *View, still func(request string) bool) {
	if earlier == v {
		return
	}
	earlier.mu.Lock()
	defer earlier.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	for request, a := range earlier.memo {
		select {
		case <-a.done:
		default:
			continue
		}
		if v.memo[request] == nil && a.err == nil && still(request) {
			v.memo[request] = &answer{done: a.done, reply: a.reply, recalled: true}
		}
	}
}

// Forget makes a look ask itself what it has only recalled, where stale says so, and
// reports whether there was any.
func (v *View) Forget(stale func(request string) bool) (any bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.memo, func(request string, a *answer) bool {
		gone := a.recalled && stale(request)
		any = any || gone
		return gone
	})
	return any
}

// Requests is how many requests this View has sent, retries included.
func (v *View) Requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.requests
}

// Now is the node's clock as of this View's first answer that was no refusal,
// in whole seconds; the zero time before there was one.
func (v *View) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// get fetches one path, through the memory if there is one.
func (v *View) get(ctx context.Context, path string, params Params) (*reply, error) {
	if v.memo == nil {
		return v.fetch(ctx, path, params, v.conn.retries)
	}
	key := path
	if len(params) > 0 {
		key += "?" + params.encode()
	}
	for {
		v.mu.Lock()
		a, known := v.memo[key]
		if !known {
			a = &answer{done: make(chan struct{})}
			v.memo[key] = a
		}
		v.mu.Unlock()
		if !known {
			v.answer(ctx, a, key, path, params)
			return a.reply, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, &TransportError{http.MethodGet, path, false, context.Cause(ctx)}
		}
		if !a.void {
			return a.reply, a.err
		}
	}
}

func (v *View) answer(ctx context.Context, a *answer, key, path string, params Params) {
	defer close(a.done)
	if a.reply, a.err = v.fetch(ctx, path, params, v.conn.retries); a.err == nil {
		v.conn.answers.note(key, a.reply)
	}
	if ctx.Err() != nil && a.err != nil {
		a.void = true
		v.mu.Lock()
		delete(v.memo, key)
		v.mu.Unlock()
	}
}

// fetch sends a GET, and again when it was not delivered, or a connection broke, its own
// or one within the node.
func (v *View) fetch(ctx context.Context, path string, params Params, retries int) (*reply, error) {
	pause := 200 * time.Millisecond
	for {
		r, err := v.once(ctx, path, params)
		if err == nil || retries <= 0 || !worthRepeating(err) || ctx.Err() != nil {
			return r, err
		}
		retries--
		timer := time.NewTimer(pause/2 + jitter(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
		pause *= 3
	}
}

// jitter draws a time below most, so that those who failed together do not come back
// together. It is drawn from the clock: under virtual time every run is the same.
func jitter(most time.Duration) time.Duration {
	return time.Duration(rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)).Int64N(int64(most)))
}

func (v *View) once(ctx context.Context, path string, params Params) (*reply, error) {
	select {
	case v.conn.slots <- struct{}{}:
		defer func() { <-v.conn.slots }()
	case <-ctx.Done():
		return nil, &TransportError{http.MethodGet, path, false, context.Cause(ctx)}
	}
	v.mu.Lock()
	v.requests++
	v.mu.Unlock()
	r, err := v.conn.send(ctx, http.MethodGet, path, params)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	if v.now.IsZero() {
		v.now = r.date
	}
	v.mu.Unlock()
	return r, nil
}

// worthRepeating: not after a deadline, which was long enough, and not after the 596 that
// took PVE half a minute to say.
func worthRepeating(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || IsPermanent(err) {
		return false
	}
	if status(err) == 595 || isBrokenRead(err) {
		return true
	}
	_, ok := errors.AsType[*TransportError](err)
	return ok
}

// read gets a path and decodes its data, once for all who are given the same answer. What
// it returns is shared: nobody changes it.
func read[T any](ctx context.Context, v *View, path string, params Params) (T, *reply, error) {
	r, err := v.get(ctx, path, params)
	if err != nil {
		var none T
		return none, nil, err
	}
	value, _, err := decodedOnce(r, func() (T, int, error) { return decode[T](r) })
	return value, r, err
}

// readAs is read for what is not told as PVE sends it. That is made once, too, and shared: the caller
// of the caller is given a copy.
func readAs[W, T any](ctx context.Context, v *View, path string, params Params, made func(W, *reply) (T, error)) (T, error) {
	r, err := v.get(ctx, path, params)
	if err != nil {
		var none T
		return none, err
	}
	value, _, err := decodedOnce(r, func() (value T, total int, err error) {
		w, total, err := decode[W](r)
		if err == nil {
			value, err = made(w, r)
		}
		return value, total, err
	})
	return value, err
}

// decodedOnce decodes for all who are given the same answer.
func decodedOnce[T any](r *reply, decode func() (T, int, error)) (value T, total int, err error) {
	r.decoded.mu.Lock()
	defer r.decoded.mu.Unlock()
	value, known := r.decoded.value.(T)
	if !known {
		if value, r.decoded.total, err = decode(); err == nil {
			r.decoded.value = value
		}
	}
	return value, r.decoded.total, err
}
