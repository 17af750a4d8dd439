package notify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/reconcile"
)

// A Notice is what the command under `notify:` reads on its standard input: one JSON document.
type Notice struct {
	Format int       `json:"format"` // of this document: 1
	Event  string    `json:"event"`  // failed, blocked, overdue, recovered, expiring, daily, pass, test
	Node   string    `json:"node"`
	Time   time.Time `json:"time"` // by the node's clock
	Object string    `json:"object,omitempty"`
	Text   string    `json:"text"` // one line
	Do     []string  `json:"fix,omitempty"`
	Where  string    `json:"where,omitempty"`
}

// How the command is called.
const (
	notifyDeadline = 10 * time.Second
	NotifyWaiting  = 500             // notices that wait for a slow command or service
	NotifyOutput   = 4 << 10         // of what it prints is kept for the log
	notifyPatience = 5 * time.Minute // how long the node as a whole may fail before anybody is told
)

// A Notifier tells the command and the services once when an object turns failed, blocked or overdue, once when it is as
// declared again, and once a day. What it has told is kept in the state directory, so that a restart tells
// nothing twice. What the command does not take is repeated, also after a restart, and is shown until it does.
type Notifier struct {
	config config.NotifyConfig
	log    *zap.Logger
	path   string // where it is kept what was told; "": nowhere
	to     []*recipient
	ended  chan struct{} // closed when Run has ended
	call   func(ctx context.Context, c *config.NotifyConfig, to string, n Notice) error
	// Changed is called, where it is set, when a notice was delivered or was not.
	Changed func()

	mu     sync.Mutex
	node   string
	told   told
	failed time.Time // since when no pass could look
	clock  time.Time // the node's at the last pass that could, in its zone
	at     time.Time // ours at the same moment
	status string    // the daily line
	pinged pinged    // what the dead man's switch was told last
}

// NewNotifier goes on where an earlier one ended.
func NewNotifier(n *session.Session) *Notifier {
	t := &Notifier{config: n.Config.Notify, log: n.Log, ended: make(chan struct{}), call: call, told: empty()}
	t.to = recipients(&t.config)
	if n.State != "" && len(t.to) > 0 {
		t.path, t.told = filepath.Join(n.State, fileName), read(n.State)
	}
	t.told.keepOnly(t.to)
	t.save()
	return t
}

// Pass takes over what a pass has found, or why it could not look.
func (t *Notifier) Pass(plan *reconcile.Plan, err error) {
	if len(t.to) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.save()
	if err != nil {
		if t.failed.IsZero() {
			t.failed = time.Now()
		}
		if time.Since(t.failed) >= notifyPatience {
			why := strings.Join(strings.Fields(err.Error()), " ")
			t.turn("node", "failed", why, nil, "")
			t.status = fmt.Sprintf("%s could not be refreshed for %s: %s", cmp.Or(t.node, "the node"), time.Since(t.failed).Truncate(time.Minute), why)
			t.daylight()
			t.ping(false)
		}
		return
	}
	t.failed = time.Time{}
	t.node, t.clock, t.at = plan.Header.Node, plan.Header.AsOf(), time.Now()
	t.turn("node", "", "it can be refreshed again", nil, "")
	state, why := troubles(plan)
	under := causes(plan, state, why)
	declared := map[string]bool{}
	for _, ref := range plan.Objects {
		declared[ref.String()] = true
	}
	for _, ref := range plan.Objects {
		if h, ok := why[ref.String()]; ok {
			where := ""
			if !h.Pos.IsZero() {
				where = h.Pos.String()
			}
			t.trouble(ref.String(), state[ref.String()], under, h, where)
		}
	}
	for _, ref := range plan.AsDeclared() {
		if object := ref.String(); t.told.Under[object] != "" { // nobody was told of it by its name
			delete(t.told.Under, object)
			delete(t.told.Objects, object)
		}
		t.turn(ref.String(), "", "as declared again", nil, "")
	}
	for object := range t.told.Objects {
		if strings.Contains(object, "/") && !declared[object] {
			delete(t.told.Objects, object) // it is not in the YAML any more
			delete(t.told.Under, object)
		}
	}
	t.status = dailyLine(plan, state)
	t.daylight()
	if t.config.Pass {
		t.send(Notice{Event: "pass", Text: t.status})
	}
	t.ping(!slices.ContainsFunc(slices.Collect(maps.Values(state)), func(word string) bool { return word == "failed" || word == "overdue" }))
}

// Pulled tells of a commit of the desired state that was refused, or of a repository that cannot be fetched; trouble is
// "" when neither is so.
func (t *Notifier) Pulled(trouble string) {
	if len(t.to) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.save()
	state := ""
	if trouble != "" {
		state = "blocked"
	} else {
		trouble = "pulled from git again"
	}
	t.turn("desired", state, trouble, nil, "")
}

// Expiring tells of a token or a certificate that ends soon: once for each of leaseDays.
func (t *Notifier) Expiring(all []session.Lease, now time.Time) {
	if len(t.to) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.save()
	for _, l := range all {
		days := l.Urgent(now)
		switch state := fmt.Sprintf("%d days", days); {
		case days == 0:
			delete(t.told.Objects, l.What)
		case t.told.Objects[l.What] != state:
			t.told.Objects[l.What] = state
			t.send(Notice{Event: "expiring", Object: l.What, Text: l.Line(now)})
		}
	}
}

// turn tells of an object that is in another state than was told of it last; "" is as declared.
func (t *Notifier) turn(object, state, text string, do []string, where string) {
	before := t.told.Objects[object]
	switch {
	case before == state:
	case state == "":
		delete(t.told.Objects, object)
		t.send(Notice{Event: "recovered", Object: object, Text: text})
	default:
		t.told.Objects[object] = state
		t.send(Notice{Event: state, Object: object, Text: text, Do: do, Where: where})
	}
}

// now is the node's clock, as far as it is known.
func (t *Notifier) now() time.Time {
	if t.clock.IsZero() {
		return time.Now()
	}
	return t.clock.Add(time.Since(t.at))
}

// daily tells the day's line when its hour has come.
func (t *Notifier) daily() {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.told.Daily
	if t.daylight(); t.told.Daily != before {
		t.save()
	}
}

func (t *Notifier) daylight() {
	if t.config.Daily == nil || t.status == "" {
		return
	}
	now := t.now()
	today := now.Format(time.DateOnly)
	due := !now.Before(time.Date(now.Year(), now.Month(), now.Day(), t.config.Daily.Hour, t.config.Daily.Minute, 0, 0, now.Location()))
	switch {
	case t.told.Daily == "" && due: // it was asked for after today's hour
		t.told.Daily = today
	case t.told.Daily == "":
		t.told.Daily = "none yet"
	case due && t.told.Daily != today:
		t.told.Daily = today
		t.send(Notice{Event: "daily", Text: t.status})
	}
}

// dailyLine is one line for all.
func dailyLine(plan *reconcile.Plan, state map[string]string) string {
	text := fmt.Sprintf("%s: %d of %d as declared", plan.Header.Node, len(plan.AsDeclared()), len(plan.Objects))
	for _, word := range []string{"failed", "overdue", "blocked"} {
		var objects []string
		for _, object := range slices.Sorted(maps.Keys(state)) {
			if state[object] == word {
				objects = append(objects, object)
			}
		}
		if len(objects) > 0 {
			text += fmt.Sprintf("; %s: %s", word, strings.Join(objects, ", "))
		}
	}
	return text
}
