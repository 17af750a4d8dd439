package notify

import (
	"context"
	"time"
)

// SetCall replaces the command.
func (t *Notifier) SetCall(call func(Notice) error) {
	t.call = func(_ context.Context, _ []string, n Notice, _ time.Duration) error { return call(n) }
}

// Take empties the queue.
func (t *Notifier) Take() (all []Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.told.Waiting {
		all = append(all, p.Notice)
	}
	t.told.Waiting = nil
	t.save()
	return all
}
