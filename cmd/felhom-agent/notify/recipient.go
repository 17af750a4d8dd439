package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/deliver"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
)

// command is the name of the command among those that are told.
const command = "command"

// The events of a dead man's switch, which nobody else hears.
const (
	well    = "well"
	notWell = "not well"
)

// A recipient is one that is told: the command, a service, or the dead man's switch. Each has an outbox of its own, so
// that one that does not answer keeps nothing from the others.
type recipient struct {
	name string
	wake chan struct{}
}

func recipients(c *config.NotifyConfig) (all []*recipient) {
	for _, name := range Names(c) {
		all = append(all, &recipient{name, make(chan struct{}, 1)})
	}
	return all
}

// Names are those that are told: the command first, then the services, then the dead man's switch.
func Names(c *config.NotifyConfig) (all []string) {
	if len(c.Command) > 0 {
		all = append(all, command)
	}
	for _, s := range c.Targets() {
		all = append(all, s.Name)
	}
	return all
}

// wants tells whether a recipient hears of an event.
func (r *recipient) wants(event string) bool {
	switch event {
	case well, notWell:
		return r.name == config.Ping
	case "pass":
		return r.name == command
	}
	return r.name != config.Ping
}

// called is what a recipient is called in messages.
func called(name string) string {
	switch name {
	case command, config.Ping:
		return "the notify " + name
	}
	return "the notify service " + name
}

// call tells one recipient one notice.
func call(ctx context.Context, c *config.NotifyConfig, to string, n Notice) error {
	if to == command {
		return CallCommand(ctx, c.Command, n, notifyDeadline)
	}
	for _, s := range c.Targets() {
		if s.Name == to {
			m := message(n)
			m.Log = s.Type == config.Ping && n.Event == "test"
			return systemd.Shut(deliver.Send(ctx, s, m))
		}
	}
	return fmt.Errorf("%s is not in the configuration any more", to)
}

// Test tells one recipient that this is a test.
func Test(ctx context.Context, c *config.NotifyConfig, to, node string) error {
	return call(ctx, c, to, Notice{Format: 1, Event: "test", Node: node, Time: time.Now().Truncate(time.Second), Text: "a test: notifications of felhom-agent arrive here"})
}

// message is a notice for people.
func message(n Notice) deliver.Message {
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(n) // text, numbers and a time
	title := n.Node
	switch {
	case n.Object == "node":
		title += " " + n.Event
	case n.Object != "":
		title += ": " + n.Object + " " + n.Event
	default:
		title += ": " + n.Event
	}
	text := []string{n.Text}
	for _, fix := range n.Do {
		text = append(text, "fix: "+fix)
	}
	if n.Where != "" {
		text = append(text, n.Where)
	}
	return deliver.Message{Event: n.Event, Title: strings.TrimSpace(title), Text: strings.Join(text, "\n"), Time: n.Time, JSON: document.Bytes(), Fail: n.Event == notWell}
}

// pinged is what a dead man's switch was told last.
type pinged struct {
	at   time.Time
	well bool
}

// pingPause is the shortest time between two pings that say the same: passes may come every few seconds.
const pingPause = time.Minute

// ping tells the dead man's switch how the pass ended. The caller holds the lock.
func (t *Notifier) ping(fine bool) {
	if t.config.Ping == nil || fine == t.pinged.well && !t.pinged.at.IsZero() && time.Since(t.pinged.at) < pingPause {
		return
	}
	t.pinged = pinged{time.Now(), fine}
	event := well
	if !fine {
		event = notWell
	}
	t.send(Notice{Event: event, Text: t.status})
}

// empty is what is kept of one who has told nothing.
func empty() told {
	return told{Format: 1, Objects: map[string]string{}, Under: map[string]string{}, Outboxes: map[string]*outbox{}}
}

// keepOnly drops what waits for those who are not told any more, and the pings of an earlier process.
func (k *told) keepOnly(to []*recipient) {
	for name, box := range k.Outboxes {
		if box == nil || !slices.ContainsFunc(to, func(r *recipient) bool { return r.name == name }) {
			delete(k.Outboxes, name)
		}
	}
	for _, r := range to {
		if k.Outboxes[r.name] == nil {
			k.Outboxes[r.name] = &outbox{}
		}
	}
	if box := k.Outboxes[config.Ping]; box != nil {
		box.Waiting = nil
	}
}
