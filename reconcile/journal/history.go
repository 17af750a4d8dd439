package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// HistoryEntry is one operation of the journal, for people and programs.
type HistoryEntry struct {
	Time    time.Time     `json:"time"`
	Object  string        `json:"object"`
	Verb    string        `json:"verb"`
	Text    string        `json:"text,omitempty"`
	Result  string        `json:"result"` // "" while it is open
	Why     string        `json:"why,omitempty"`
	UPID    string        `json:"upid,omitempty"`
	Commit  string        `json:"commit,omitempty"` // of the desired state, where it was pulled from git
	Elapsed time.Duration `json:"elapsed,omitempty"`
	Log     []string      `json:"log,omitempty"`
	Usual   time.Duration `json:"usual,omitempty"` // how long this takes; 0: unknown, or not asked for
}

// MarshalJSON prints the elapsed time as people read it: "41s".
func (e HistoryEntry) MarshalJSON() ([]byte, error) {
	type plain HistoryEntry
	return text.JSON(struct {
		plain
		Elapsed string `json:"elapsed,omitempty"`
		Usual   string `json:"usual,omitempty"`
	}{plain(e), text.Duration(e.Elapsed), text.Duration(e.Usual)})
}

// UnmarshalJSON reads what MarshalJSON prints.
func (e *HistoryEntry) UnmarshalJSON(data []byte) error {
	type plain HistoryEntry
	read := struct {
		*plain
		Elapsed string `json:"elapsed"`
		Usual   string `json:"usual"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	for _, field := range []struct {
		text string
		to   *time.Duration
	}{{read.Elapsed, &e.Elapsed}, {read.Usual, &e.Usual}} {
		if field.text == "" {
			continue
		}
		var err error
		if *field.to, err = time.ParseDuration(field.text); err != nil {
			return err
		}
	}
	return nil
}

// A Filter says which actions of the journal are listed. The zero value lists all.
type Filter struct {
	Objects []string  // "restores/web": these, and the snapshots and backups of those that are guests; empty: all
	Since   time.Time // begun at or after it; zero: whenever
	Failed  bool      // only those that failed or were refused
	Last    int       // at most so many, the newest; 0: all
}

// limited reports whether a person looks for something: then UPIDs and logs are of interest too.
func (f Filter) limited() bool { return len(f.Objects) > 0 || f.Failed }

// History lists the actions of the journal that fit, oldest first.
func (j *Journal) History(f Filter) []HistoryEntry {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	queues := map[string]bool{} // of the guests that are named
	for _, a := range j.Order {
		guest := strings.HasPrefix(a.Object, "restores/") || strings.HasPrefix(a.Object, "guests/")
		if guest && strings.HasPrefix(a.Queue, "lxc/") && slices.Contains(f.Objects, a.Object) {
			queues[a.Queue] = true
		}
	}
	all := []HistoryEntry{}
	for _, a := range j.Order {
		switch {
		case len(f.Objects) > 0 && !slices.Contains(f.Objects, a.Object) && !queues[a.Queue],
			a.Time.Before(f.Since), f.Failed && a.Result != ResultFailed && a.Result != ResultRefused:
			continue
		}
		e := HistoryEntry{Time: a.Time, Object: a.Object, Verb: a.Verb, Text: a.Text, Result: a.Result, Why: a.text, UPID: a.Upid.String(), Commit: a.Commit, Log: a.log}
		if !a.Open() {
			e.Elapsed = max(a.ended.Sub(a.Time), 0)
		}
		all = append(all, e)
	}
	if f.Last > 0 && len(all) > f.Last {
		all = all[len(all)-f.Last:]
	}
	return all
}

// Last is the ID of the newest action of the journal; "" where it is empty.
func (j *Journal) Last() string {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	if len(j.Order) == 0 {
		return ""
	}
	return j.Order[len(j.Order)-1].Action
}

// Since lists the intents that follow an action, of actions that may have had an effect: not of those that were refused,
// locked out or never delivered. Where the journal does not have that action, those of a time by the node's clock, in seconds, and later.
func (j *Journal) Since(last string, t time.Time) (all []Entry) {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	from := slices.IndexFunc(j.Order, func(a *Operation) bool { return a.Action == last })
	for i, a := range j.Order {
		if (from >= 0 && i > from || from < 0 && !a.Time.Before(t)) && a.Result != ResultRefused && a.Result != ResultLocked && a.Result != ResultUnsent {
			all = append(all, a.Entry)
		}
	}
	return all
}

func (j *Journal) unreadLines() int {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return j.unread
}

// Damage says how many lines of the journal cannot be read, what is lost with them, and
// where it can still be found; "" where all can be read.
func (j *Journal) Damage() string {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	if j.unread == 0 {
		return ""
	}
	return fmt.Sprintf("%s of the journal cannot be read, and %s passed over (torn by a crash, damaged, or written by another version; the last one: %v). What %s recorded is lost here; PVE keeps the tasks themselves. fix: pvenode task list",
		text.Count(j.unread, "line", "lines"), map[bool]string{true: "is", false: "are"}[j.unread == 1], j.whyUnread, map[bool]string{true: "it", false: "they"}[j.unread == 1])
}

// WriteText prints what fits of the journal for people; where it is limited to objects or failures, with the logs of
// failed tasks.
func (j *Journal) WriteText(w io.Writer, f Filter, verbose bool) error {
	b := bufio.NewWriter(w)
	day := ""
	for _, e := range j.History(f) {
		if d := e.Time.Format("Mon 2 Jan 2006"); d != day {
			quote.Fprintf(b, "%s\n", d)
			day = d
		}
		result := e.Result
		switch e.Result {
		case "":
			result = "open"
		case ResultFailed, ResultRefused:
			result = strings.ToUpper(e.Result)
		}
		s := e.Why
		if s == "" {
			s = e.Text
		}
		took := ""
		if e.Elapsed >= time.Second {
			took = text.Elapsed(e.Elapsed)
		}
		quote.Fprintf(b, "  %s  %-20s %-15s %-8s %7s  %s\n", e.Time.Format(time.TimeOnly), e.Object, e.Verb, result, took, s)
		if (f.limited() || verbose) && e.UPID != "" {
			quote.Fprintf(b, "            %s\n", e.UPID)
		}
		if verbose && e.Commit != "" {
			quote.Fprintf(b, "            commit %s\n", e.Commit)
		}
		if f.limited() {
			for _, line := range e.Log {
				quote.Fprintf(b, "            | %s\n", line)
			}
		}
	}
	damage := j.Damage()
	switch {
	case day == "" && damage != "":
		fmt.Fprintln(b, "The journal contains no actions.")
	case day == "" && len(j.History(Filter{})) > 0:
		fmt.Fprintln(b, "No action of the journal fits.")
	case day == "":
		fmt.Fprintln(b, "The journal is empty: nothing was done here yet.")
	}
	if damage != "" {
		fmt.Fprintln(b, damage)
	}
	return b.Flush()
}

// WriteJSON prints what fits of the journal as one JSON document.
func (j *Journal) WriteJSON(w io.Writer, f Filter) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Format int            `json:"format"`
		Acts   []HistoryEntry `json:"history"`
		Unread int            `json:"unread,omitempty"` // lines that could not be read
	}{1, j.History(f), j.unreadLines()})
}
