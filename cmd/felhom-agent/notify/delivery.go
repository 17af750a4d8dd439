package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/quote"
)

// told is what was told already, and what could not be. It is kept in the state directory.
type told struct {
	Format   int                `json:"format"`            // of this document: 1
	Objects  map[string]string  `json:"objects,omitempty"` // object -> failed, blocked or overdue
	Under    map[string]string  `json:"under,omitempty"`   // object -> the object whose notice told of it too
	Daily    string             `json:"daily,omitempty"`   // the day of the last daily line
	Outboxes map[string]*outbox `json:"outboxes,omitempty"`
	// What earlier versions wrote, who had one recipient.
	Waiting []*pending `json:"waiting,omitempty"`
	Failing *failure   `json:"failing,omitempty"`
}

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
	if kept.Outboxes == nil {
		kept.Outboxes = map[string]*outbox{}
	}
	if kept.Waiting != nil || kept.Failing != nil {
		kept.Outboxes[command] = &outbox{Waiting: kept.Waiting, Failing: kept.Failing}
		kept.Waiting, kept.Failing = nil, nil
	}
	for _, box := range kept.Outboxes {
		if box != nil {
			box.Waiting = slices.DeleteFunc(box.Waiting, func(p *pending) bool { return p == nil })
			box.Waiting = box.Waiting[max(0, len(box.Waiting)-NotifyWaiting):]
		}
	}
	return kept
}

// Undelivered says in one line each what these recipients did not take, as a service has kept it in its state
// directory, and how many notices that are; nothing where all is well.
func Undelivered(dir string, names ...string) (lines []string, count int) {
	kept := read(dir)
	return kept.undelivered(names)
}

// Undelivered says in one line each what was not taken, and how many notices that are; nothing where all is well.
func (t *Notifier) Undelivered() (lines []string, count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told.undelivered(Names(&t.config))
}

func (k *told) undelivered(names []string) (lines []string, count int) {
	for _, name := range names {
		line, n := k.Outboxes[name].undelivered(name)
		if line != "" {
			lines = append(lines, line)
		}
		count += n
	}
	return lines, count
}

// send puts a notice into the outboxes. The caller holds the lock and saves.
func (t *Notifier) send(n Notice) {
	n.Format, n.Node, n.Time = 1, t.node, t.now().Truncate(time.Second)
	n.Text, n.Where, n.Object = quote.Line(n.Text), quote.Line(n.Where), quote.Line(n.Object)
	for i, text := range n.Do {
		n.Do = slices.Clone(n.Do)
		n.Do[i] = quote.Line(text)
	}
	for _, r := range t.to {
		if !r.wants(n.Event) {
			continue
		}
		if lost := t.told.Outboxes[r.name].put(n); lost != nil {
			t.log.Warn("a notification is dropped: "+called(r.name)+" does not keep up", zap.String("event", lost.Notice.Event), zap.String("object", lost.Notice.Object))
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// due is the first notice of a recipient whose time has come, or how long there is none.
func (t *Notifier) due(r *recipient) (*pending, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told.Outboxes[r.name].due()
}

// called takes over what became of a notice.
func (t *Notifier) called(r *recipient, p *pending, err error) {
	t.mu.Lock()
	lost := t.told.Outboxes[r.name].called(p, err)
	if err != nil {
		t.log.Warn(called(r.name)+" failed", zap.String("event", p.Notice.Event), zap.String("object", p.Notice.Object),
			zap.Int("tries", p.Tries), zap.Bool("given up", lost), zap.Time("next", p.Next), zap.Error(err))
	}
	t.save()
	t.mu.Unlock()
	if t.Changed != nil {
		t.Changed()
	}
}

// lastWords is how long a call that runs when ctx ends may go on: what it has passed on already must not be told twice.
const lastWords = 2 * time.Second

// Run tells the recipients, each one notice after the other, until ctx ends. What they do not take is repeated. It is
// called once.
func (t *Notifier) Run(ctx context.Context) {
	defer close(t.ended)
	if len(t.to) == 0 {
		return
	}
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, stop) })()
	var all sync.WaitGroup
	for _, r := range t.to {
		all.Add(1)
		exit.Go(func() { defer all.Done(); t.deliver(ctx, calls, r) })
	}
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			t.daily()
		}
	}
	all.Wait()
}

// deliver tells one recipient until ctx ends; a call may go on until calls ends.
func (t *Notifier) deliver(ctx, calls context.Context, r *recipient) {
	for ctx.Err() == nil {
		p, wait := t.due(r)
		if p != nil {
			err := t.call(calls, &t.config, r.name, p.Notice)
			if err == nil || ctx.Err() == nil { // one that was killed for us did not fail
				t.called(r, p, err)
			}
			continue
		}
		again := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.wake:
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
		err = replace(t.path, text)
	}
	if err != nil {
		t.log.Warn("the sent notifications cannot be saved; a restart sends them again", zap.Error(err))
	}
}

// replace writes a file so that after a crash it is the old one or the new one.
func replace(path string, text []byte) error {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(next, path)
}
