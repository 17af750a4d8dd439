package proxmox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// APIError is PVE's own refusal of a request.
type APIError struct {
	Method, Path string
	// Status is the HTTP status. PVE knows no 404 and no 409: a missing guest,
	// an existing one, a lock and a changed digest are all 500 and told apart
	// by their text only; see the predicates. 595 was never delivered, after
	// 596 the outcome is unknown.
	Status int
	// Message is PVE's text without its trailing newline.
	Message string
	// Fields are the errors of single parameters, by name.
	Fields map[string]string
	// Denied is set for every 403.
	Denied *Denied
}

// Denied is what a permission check missed.
type Denied struct {
	// Privileges of which one would do, and the path they are wanted on. Both
	// are empty where PVE does not say.
	Privileges []string
	Path       string
	// Reason is what PVE says instead of, or besides, a path and privilege.
	Reason string
}

// RootOnly tells that PVE allows it to nobody but the user root@pam, and to no
// token, also not to one of root@pam.
func (d *Denied) RootOnly() bool { return d != nil && isRootOnly(d.Reason) }

func (d *Denied) String() string {
	switch {
	case d.RootOnly():
		return "PVE allows this to root@pam only, and to no token: do it as root on the node"
	case d.Path == "":
		return "the token lacks a privilege that PVE does not name" + d.tail()
	}
	// A role of its own on this path would replace the one that is inherited.
	return fmt.Sprintf("the token lacks %s on %s%s: add it to the role that the token and its user have (pveum role modify ROLE --append 1 --privs %s)",
		strings.Join(d.Privileges, " or "), d.Path, d.tail(), d.Privileges[0])
}

func (d *Denied) tail() string {
	if d.Reason == "" {
		return ""
	}
	return " (" + d.Reason + ")"
}

func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", e.Method, e.Path, e.Status, e.Message)
	for i, key := range slices.Sorted(maps.Keys(e.Fields)) {
		sep := "; "
		if i == 0 {
			sep = " "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, key, strings.TrimSpace(e.Fields[key]))
	}
	switch {
	case e.Status == 401:
		b.WriteString("; PVE says the same for a wrong secret, an unknown, disabled or expired token or user: check all of them (pveum user token list USER)")
	case e.Denied != nil && (e.Denied.Path != "" || e.Denied.Reason == "" || e.Denied.RootOnly()):
		b.WriteString("; " + e.Denied.String())
	case e.Status == 595:
		b.WriteString("; the request was not delivered, it may be sent again")
	case IsOutcomeUnknown(e):
		b.WriteString("; it may have been carried out anyway: check before you send it again")
	case IsDigestConflict(e):
		b.WriteString("; it was changed in between: read it again first")
	}
	return oneLine(b.String())
}

// oneLine joins the lines that PVE may put into a message: whoever logs an error
// must not be given lines that look like the log's own.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}

// TaskError is a task that ended with neither OK nor WARNINGS.
type TaskError struct {
	UPID       UPID
	ExitStatus string
	LogTail    []string // last lines of the task's log
	Denied     *Denied  // set when a missing privilege ended it
}

// Reason is the exit status, or what the log says where the exit status is
// only "job errors", or both where the task ended without saying why.
func (e *TaskError) Reason() string { return strings.Join(taskReasons(e.ExitStatus, e.LogTail), "; ") }

func (e *TaskError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %s of %s on %s failed: %s", e.UPID.Type, orDash(e.UPID.ID), e.UPID.Node, e.Reason())
	if e.Denied != nil {
		b.WriteString("; " + e.Denied.String())
	}
	fmt.Fprintf(&b, " (%s)", e.UPID)
	return oneLine(b.String())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// TransportError is a request that got no answer: no connection, a connection
// that broke, or a deadline.
type TransportError struct {
	Method, Path string
	// Sent tells that the request may have reached PVE.
	Sent bool
	Err  error
}

func (e *TransportError) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Method, e.Path, e.Err)
	switch {
	case !e.Sent:
		return text + "; the request was not delivered: check the address and that PVE runs"
	case e.Method != "GET":
		return text + "; it may have been carried out anyway: check before you send it again"
	}
	return text
}

func (e *TransportError) Unwrap() error { return e.Err }

// AnswerError is an answer that is not what PVE's API promises: a web page, a
// redirect, truncated or oversized JSON, a value of the wrong type.
type AnswerError struct {
	Method, Path string
	Status       int
	Reason       string
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("%s %s: answer (status %d) not understood: %s; check that the URL is that of a Proxmox VE API, https://HOST:8006", e.Method, e.Path, e.Status, e.Reason)
	if e.Method != "GET" {
		text += "; it may have been carried out anyway: check before you send it again"
	}
	return text
}

// WaitError is a wait that ended before its task did. The task goes on.
type WaitError struct {
	UPID UPID
	Err  error // the context's, or the last poll's
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("stopped waiting for task %s: %v; the task itself goes on", e.UPID, e.Err)
}

func (e *WaitError) Unwrap() error { return e.Err }

// CertificateError is a server certificate that is not trusted: not the pinned
// one, or, without a pin, none that a known authority signed.
type CertificateError struct {
	Host         string
	Seen, Pinned string // SHA-256 of the DER, AA:BB:…; Pinned is empty without a pin
	Err          error  // why an authority does not vouch for it; nil with a pin
}

func (e *CertificateError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("the certificate of %s is not trusted: %v; its fingerprint is %s: if `pvenode cert info` on the node says the same, put it into the configuration", e.Host, e.Err, e.Seen)
	}
	return fmt.Sprintf("the certificate of %s has changed: its fingerprint is %s, expected %s; if PVE renewed it and `pvenode cert info` on the node says the same, put the new one into the configuration", e.Host, e.Seen, e.Pinned)
}

func (e *CertificateError) Unwrap() error { return e.Err }

// OptionError is an option that New cannot work with.
type OptionError struct {
	Option string // URL, Token, Fingerprint or CA
	Err    error
}

func (e *OptionError) Error() string { return e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }
