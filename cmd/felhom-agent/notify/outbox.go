package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/quote"
)

// An outbox is what one recipient has not taken yet.
type outbox struct {
	Waiting []*pending `json:"waiting,omitempty"` // the oldest first
	Failing *failure   `json:"failing,omitempty"` // the last call failed
	Dropped int        `json:"dropped,omitempty"` // since calls fail: there was no room, or their time was up
}

// pending is a notice that a recipient has not taken.
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

// key tells notices of which only the newest counts.
func (n *Notice) key() string {
	switch {
	case n.Event == well || n.Event == notWell:
		return config.Ping
	case n.Object == "":
		return n.Event
	}
	return n.Object
}

// put adds a notice. What it supersedes and has failed already goes: "recovered" must not come before "failed". Of pings
// only the newest says anything. It returns what there was no room for.
func (b *outbox) put(n Notice) (dropped *pending) {
	b.Waiting = slices.DeleteFunc(b.Waiting, func(p *pending) bool {
		return p.Notice.key() == n.key() && (p.Tries > 0 || n.key() == config.Ping)
	})
	if len(b.Waiting) >= NotifyWaiting {
		dropped = b.Waiting[0]
		b.Waiting = b.Waiting[1:]
		b.Dropped++
	}
	b.Waiting = append(b.Waiting, &pending{Notice: n, Since: time.Now()})
	return dropped
}

// due is the first notice whose time has come, or how long there is none.
func (b *outbox) due() (*pending, time.Duration) {
	wait := longestWait
	for _, p := range b.Waiting {
		pause := time.Until(p.Next)
		if p.Tries == 0 || pause <= 0 || pause > longestWait { // that far only where the clock was put back
			return p, 0
		}
		wait = min(wait, pause)
	}
	return nil, wait
}

// called takes over what became of a notice, and reports whether it is given up.
func (b *outbox) called(p *pending, err error) (lost bool) {
	at := slices.Index(b.Waiting, p)
	drop := func() {
		if at >= 0 {
			b.Waiting = slices.Delete(b.Waiting, at, at+1)
		}
	}
	if err == nil {
		b.Failing, b.Dropped = nil, 0
		drop()
		return false
	}
	if b.Failing == nil {
		b.Failing = &failure{Since: time.Now().Truncate(time.Second)}
	}
	b.Failing.Why = quote.Line(err.Error())
	p.Tries++
	pause := longestWait
	if p.Tries < 7 {
		pause = firstPause << (p.Tries - 1)
	}
	p.Next = time.Now().Add(pause).Truncate(time.Second)
	newer := at >= 0 && slices.ContainsFunc(b.Waiting[at+1:], func(q *pending) bool { return q.Notice.key() == p.Notice.key() })
	if lost = time.Since(p.Since) > given; lost {
		b.Dropped++
	}
	if p.Notice.Event == "pass" || newer || lost { // an old heartbeat says nothing
		drop()
	}
	return lost
}

// undelivered says in one line what was not taken, and how many notices that are; "" where all is well.
func (b *outbox) undelivered(name string) (text string, count int) {
	if b == nil || b.Failing == nil {
		return "", 0
	}
	var next time.Time
	for _, p := range b.Waiting {
		if p.Tries == 0 {
			continue
		}
		if count++; next.IsZero() || p.Next.Before(next) {
			next = p.Next
		}
	}
	since := b.Failing.Since.Local().Format("Mon 2 Jan 15:04")
	to := ""
	if name != command {
		to = " to " + name
	}
	switch {
	case count == 0:
		text = fmt.Sprintf("%s fails since %s", called(name), since)
	case count == 1:
		text = fmt.Sprintf("1 notification is not delivered%s, since %s, next try %s", to, since, next.Local().Format("15:04"))
	default:
		text = fmt.Sprintf("%d notifications are not delivered%s, since %s, next try %s", count, to, since, next.Local().Format("15:04"))
	}
	if b.Dropped > 0 {
		text += fmt.Sprintf(", %d more given up", b.Dropped)
	}
	text += ": " + b.Failing.Why
	if name != command && !strings.Contains(b.Failing.Why, "fix: ") {
		text += ". fix: correct notify; felhom-agent --selftest=notify tests it"
	}
	return text, count
}
