package notify

import (
	"context"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

// SetCall replaces the command and the services.
func (t *Notifier) SetCall(call func(Notice) error) {
	t.SetCalls(func(_ string, n Notice) error { return call(n) })
}

// SetCalls is SetCall, with the name of the recipient.
func (t *Notifier) SetCalls(call func(to string, n Notice) error) {
	t.call = func(_ context.Context, _ *config.NotifyConfig, to string, n Notice) error { return call(to, n) }
}

// Take empties the queue of the command.
func (t *Notifier) Take() (all []Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	box := t.told.Outboxes[command]
	for _, p := range box.Waiting {
		all = append(all, p.Notice)
	}
	box.Waiting = nil
	t.save()
	return all
}
