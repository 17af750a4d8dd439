package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// HistoryEntry is one act of the journal, for people and programs.
type HistoryEntry struct {
	Time    time.Time     `json:"time"`
	Object  string        `json:"object"`
	Verb    string        `json:"verb"`
	Text    string        `json:"text,omitempty"`
	Result  string        `json:"result"` // "" while it is open
	Why     string        `json:"why,omitempty"`
	UPID    string        `json:"upid,omitempty"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
	Log     []string      `json:"log,omitempty"`
}

// MarshalJSON prints the elapsed time as people read it: "41s".
func (e HistoryEntry) MarshalJSON() ([]byte, error) {
	type plain HistoryEntry
	return text.JSON(struct {
		plain
		Elapsed string `json:"elapsed,omitempty"`
	}{plain(e), text.Duration(e.Elapsed)})
}

// UnmarshalJSON reads what MarshalJSON prints.
func (e *HistoryEntry) UnmarshalJSON(data []byte) error {
	type plain HistoryEntry
	read := struct {
		*plain
		Elapsed string `json:"elapsed"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(data, &read); err != nil || read.Elapsed == "" {
		return err
	}
	var err error
	e.Elapsed, err = time.ParseDuration(read.Elapsed)
	return err
}

// History lists the acts of the journal, oldest first; of one object where only is
// not empty.
func (j *Journal) History(only string) []HistoryEntry {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	all := []HistoryEntry{}
	for _, a := range j.Order {
		if only != "" && a.Object != only {
			continue
		}
		e := HistoryEntry{Time: a.Time, Object: a.Object, Verb: a.Verb, Text: a.Text, Result: a.Result, Why: a.text, UPID: a.Upid.String(), Log: a.log}
		if !a.Open() {
			e.Elapsed = max(a.ended.Sub(a.Time), 0)
		}
		all = append(all, e)
	}
	return all
}

// Since lists the intents at or after a time by the node's clock of actions that may have had an effect: not of those that
// were refused, locked out or never delivered.
func (j *Journal) Since(t time.Time) (all []Entry) {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	for _, a := range j.Order {
		if !a.Time.Before(t) && a.Result != ResultRefused && a.Result != ResultLocked && a.Result != ResultUnsent {
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

// WriteText prints the journal for people; of one object, where only is not empty,
// with the logs of its failed tasks.
func (j *Journal) WriteText(w io.Writer, only string, verbose bool) error {
	b := bufio.NewWriter(w)
	day := ""
	for _, e := range j.History(only) {
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
		if (only != "" || verbose) && e.UPID != "" {
			quote.Fprintf(b, "            %s\n", e.UPID)
		}
		if only != "" {
			for _, line := range e.Log {
				quote.Fprintf(b, "            | %s\n", line)
			}
		}
	}
	damage := j.Damage()
	switch {
	case day == "" && damage != "":
		fmt.Fprintln(b, "The journal contains no actions.")
	case day == "":
		fmt.Fprintln(b, "The journal is empty: nothing was done here yet.")
	}
	if damage != "" {
		fmt.Fprintln(b, damage)
	}
	return b.Flush()
}

// WriteJSON prints the journal as one JSON document.
func (j *Journal) WriteJSON(w io.Writer, only string) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Format int            `json:"format"`
		Acts   []HistoryEntry `json:"history"`
		Unread int            `json:"unread,omitempty"` // lines that could not be read
	}{1, j.History(only), j.unreadLines()})
}
