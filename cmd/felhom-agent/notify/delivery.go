package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/quote"
)

// told is what was told already, and what could not be. It is kept in the state directory.
type told struct {
	Format  int               `json:"format"`            // of this document: 1
	Objects map[string]string `json:"objects,omitempty"` // object -> failed, blocked or overdue
	Under   map[string]string `json:"under,omitempty"`   // object -> the object whose notice told of it too
	Daily   string            `json:"daily,omitempty"`   // the day of the last daily line
	Waiting []*pending        `json:"waiting,omitempty"` // the oldest first
	Failing *failure          `json:"failing,omitempty"` // the last call failed
}

// pending is a notice that the command has not taken.
type pending struct {
	Notice Notice    `json:"notice"`
	Since  time.Time `json:"since"`         // when it came up, by this machine's clock as below
	Tries  int       `json:"tries"`         // that failed
	Next   time.Time `json:"next,omitzero"` // not tried again before
}

// UnmarshalJSON reads a notice that waits, also with the keys that earlier versions wrote.
func (p *pending) UnmarshalJSON(data []byte) error {
	type plain pending
	read := struct {
		*plain
		Notice struct {
			Notice
			Do []string `json:"do"`
		} `json:"notice"`
	}{plain: (*plain)(p)}
	err := json.Unmarshal(data, &read)
	p.Notice = read.Notice.Notice
	if p.Notice.Do == nil {
		p.Notice.Do = read.Notice.Do
	}
	return err
}

type failure struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // of the last one
}

// How a notice is repeated.
const (
	firstPause  = time.Minute // doubled after each failure
	longestWait = time.Hour
	given       = 7 * 24 * time.Hour // how long it is tried
)

const fileName = "told.json"

// read reads what an earlier process has kept.
func read(dir string) told {
	kept := told{}
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.Format != 1 {
		kept = told{Format: 1}
	}
	if kept.Objects == nil {
		kept.Objects = map[string]string{}
	}
	if kept.Under == nil {
		kept.Under = map[string]string{}
	}
	kept.Waiting = slices.DeleteFunc(kept.Waiting, func(p *pending) bool { return p == nil })
	return kept
}

// Undelivered says in one line what the notify command did not take, as a service has kept it in its state
// directory, and how many notices that are; "" where all is well.
func Undelivered(dir string) (text string, count int) {
	kept := read(dir)
	return kept.undelivered()
}

// Undelivered says in one line what the command did not take, and how many notices that are; "" where all is well.
func (t *Notifier) Undelivered() (text string, count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told.undelivered()
}

func (k *told) undelivered() (text string, count int) {
	if k.Failing == nil {
		return "", 0
	}
	var next time.Time
	for _, p := range k.Waiting {
		if p.Tries == 0 {
			continue
		}
		if count++; next.IsZero() || p.Next.Before(next) {
			next = p.Next
		}
	}
	since := k.Failing.Since.Local().Format("Mon 2 Jan 15:04")
	switch {
	case count == 0:
		return fmt.Sprintf("the notify command fails since %s: %s", since, k.Failing.Why), 0
	case count == 1:
		text = "1 notification is"
	default:
		text = fmt.Sprintf("%d notifications are", count)
	}
	return fmt.Sprintf("%s not delivered, since %s, next try %s: %s", text, since, next.Local().Format("15:04"), k.Failing.Why), count
}

// key tells notices of which only the newest counts.
func (n *Notice) key() string {
	if n.Object == "" {
		return n.Event
	}
	return n.Object
}

// send puts a notice into the queue. What it supersedes and has failed already goes: "recovered" must not come before
// "failed". The caller holds the lock and saves.
func (t *Notifier) send(n Notice) {
	n.Format, n.Node, n.Time = 1, t.node, t.now().Truncate(time.Second)
	n.Text, n.Where, n.Object = quote.Line(n.Text), quote.Line(n.Where), quote.Line(n.Object)
	for i, text := range n.Do {
		n.Do = slices.Clone(n.Do)
		n.Do[i] = quote.Line(text)
	}
	w := slices.DeleteFunc(t.told.Waiting, func(p *pending) bool { return p.Tries > 0 && p.Notice.key() == n.key() })
	if len(w) >= NotifyWaiting {
		t.log.Warn("a notification is dropped: the notify command does not keep up", zap.String("event", w[0].Notice.Event), zap.String("object", w[0].Notice.Object))
		w = w[1:]
	}
	t.told.Waiting = append(w, &pending{Notice: n, Since: time.Now()})
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// due is the first notice whose time has come, or how long there is none.
func (t *Notifier) due() (*pending, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := longestWait
	for _, p := range t.told.Waiting {
		pause := time.Until(p.Next)
		if p.Tries == 0 || pause <= 0 || pause > longestWait { // that far only where the clock was put back
			return p, 0
		}
		wait = min(wait, pause)
	}
	return nil, wait
}

// called takes over what became of a notice.
func (t *Notifier) called(p *pending, err error) {
	t.mu.Lock()
	at := slices.Index(t.told.Waiting, p)
	drop := func() {
		if at >= 0 {
			t.told.Waiting = slices.Delete(t.told.Waiting, at, at+1)
		}
	}
	if err == nil {
		t.told.Failing = nil
		drop()
	} else {
		if t.told.Failing == nil {
			t.told.Failing = &failure{Since: time.Now().Truncate(time.Second)}
		}
		t.told.Failing.Why = quote.Line(err.Error())
		p.Tries++
		pause := longestWait
		if p.Tries < 7 {
			pause = firstPause << (p.Tries - 1)
		}
		p.Next = time.Now().Add(pause).Truncate(time.Second)
		newer := at >= 0 && slices.ContainsFunc(t.told.Waiting[at+1:], func(q *pending) bool { return q.Notice.key() == p.Notice.key() })
		lost := time.Since(p.Since) > given
		if p.Notice.Event == "pass" || newer || lost { // an old heartbeat says nothing
			drop()
		}
		t.log.Warn("the notify command failed", zap.String("event", p.Notice.Event), zap.String("object", p.Notice.Object),
			zap.Int("tries", p.Tries), zap.Bool("given up", lost), zap.Time("next", p.Next), zap.Error(err))
	}
	t.save()
	t.mu.Unlock()
	if t.Changed != nil {
		t.Changed()
	}
}

// lastWords is how long a command that runs when ctx ends may go on: what it has passed on already must not be told twice.
const lastWords = 2 * time.Second

// Run calls the command, one notice after the other, until ctx ends. What it does not take is repeated. It is called once.
func (t *Notifier) Run(ctx context.Context) {
	defer close(t.ended)
	if len(t.config.Command) == 0 {
		return
	}
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, stop) })()
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for ctx.Err() == nil {
		p, wait := t.due()
		if p != nil {
			err := t.call(calls, t.config.Command, p.Notice, notifyDeadline)
			if err == nil || ctx.Err() == nil { // one that was killed for us did not fail
				t.called(p, err)
			}
			continue
		}
		again := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-ticker.C:
			t.daily()
		case <-t.wake:
		case <-again.C:
		}
		again.Stop()
	}
}

// Wait waits for the end of Run: a moment after the end of its context.
func (t *Notifier) Wait() { <-t.ended }

// save keeps what was told. The caller holds the lock.
func (t *Notifier) save() {
	if t.path == "" {
		return
	}
	text, err := json.Marshal(t.told)
	if err == nil {
		text = []byte(quote.Text(string(text)))
		if old, e := os.ReadFile(t.path); e == nil && bytes.Equal(old, text) {
			return
		}
		next := t.path + ".new"
		if err = os.WriteFile(next, text, 0o640); err == nil {
			err = os.Rename(next, t.path)
		}
	}
	if err != nil {
		t.log.Warn("the sent notifications cannot be saved; a restart sends them again", zap.Error(err))
	}
}
