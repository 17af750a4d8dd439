package proxmox

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// This file is the only one that reads PVE's English. PVE answers 500 to
// nearly everything and says what happened in words, often with a source line
// behind them (" at /usr/share/perl5/… line N."), and its tasks put a prefix
// before them ("unable to restore CT 111 - "). So patterns look for the part
// that matters and never for a whole message.

type phrase struct {
	class class
	form  *regexp.Regexp
}

type class int

const (
	notFound class = 1 << iota
	exists
	locked
	digestConflict
	notRunning
	alreadyRunning
	busyServer // something else than the request is in the way, and passes
	notApplied // a parameter is right, but could not be applied to the guest as it is
	backupLimit
	brokenRead // a connection within the node broke while it was asked
	serverMaintenance
	serverFull
	serverOwner
	serverDenies
	serverKey
	serverAway
)

var phrases = []phrase{
	{notFound, regexp.MustCompile(`Configuration file '[^']*' does not exist`)},
	{notFound, regexp.MustCompile(`(?:snapshot|storage|volume|disk image) '[^']*' does not exist`)},
	{notFound, regexp.MustCompile(`^pool '[^']*' does not exist`)}, // of a restore into it, it is a 403
	{notFound, regexp.MustCompile(`^no such task$`)},
	{notFound, regexp.MustCompile(`^unable to open file - No such file or directory`)},
	{exists, regexp.MustCompile(`\b(?:CT|VM) \d+ already exists\b`)},
	{exists, regexp.MustCompile(`snapshot name '[^']*' already used`)},
	{locked, lockWord},
	{locked, regexp.MustCompile(`can't lock file '[^']*/(?:pve-config-|pve-migrate-|lock-)\d+(?:\.(?:lock|conf))?' - got timeout`)},
	{locked, regexp.MustCompile(`Failed to obtain guest migration lock`)},
	{digestConflict, regexp.MustCompile(`detected modified configuration - file changed by other user`)},
	{digestConflict, regexp.MustCompile(`checksum mismatch \(file change by other user\?\)`)}, // of a virtual machine
	{notRunning, regexp.MustCompile(`\b(?:CT|VM) \d+ not running\b`)},
	{alreadyRunning, regexp.MustCompile(`\b(?:CT|VM) \d+ already running\b`)},
	{busyServer, regexp.MustCompile(`cluster not ready - no quorum\?`)},
	{busyServer, regexp.MustCompile(`can't lock file '[^']*' - got timeout`)},
	{busyServer, regexp.MustCompile(`can't acquire lock '[^']*' (?:- got timeout|\(wait = 0\))`)},
	{busyServer, regexp.MustCompile(`got lock request timeout|cfs-lock '[^']*' error`)},
	{busyServer, regexp.MustCompile(`RPCEnvironment init request failed`)},
	{busyServer, regexp.MustCompile(`Failed to obtain guest migration lock`)},
	{brokenRead, regexp.MustCompile(`failed to read from command socket|Connection reset by peer|Broken pipe`)},
	{backupLimit, regexp.MustCompile(`There is a max backup limit of \d+ enforced`)},
	{serverMaintenance, regexp.MustCompile(`\b(?:read-only|offline|unmount|[a-z0-9-]+) maintenance mode\b|datastore is being deleted`)},
	{serverFull, regexp.MustCompile(`ENOSPC|inserting chunk .*No space left`)},
	{serverOwner, regexp.MustCompile(`backup owner check failed`)},
	{serverDenies, regexp.MustCompile(`\bpermission check failed`)},
	{serverKey, regexp.MustCompile(`missing key - manifest was created with key|wrong key - |no encryption key file found`)},
	{serverAway, regexp.MustCompile(`^error (?:listing snapshots|fetching datastores) - .*(?:timeout|timed out|Can't connect|Connection (?:refused|reset)|No route to host)`)},
	{notApplied, regexp.MustCompile(`^unable to (?:hotplug|apply pending change) [a-z]+[0-9]* ?: `)},
}

var (
	lockWord   = regexp.MustCompile(`\b(?:CT|VM)(?: \d+)? is locked \(([a-z-]+)\)`)
	denial     = regexp.MustCompile(`Permission check failed(?: \((.*)\))?`)
	denialPath = regexp.MustCompile(`^(/[^,]*), ([A-Z][A-Za-z]*(?:\.[A-Za-z]+)+(?:\|[A-Z][A-Za-z]*(?:\.[A-Za-z]+)+)*)(?: (for .*))?$`)
	rootOnly   = regexp.MustCompile(`only (?:allowed|possible) for root|Only root (?:may|can)`)
	clientSaid = regexp.MustCompile(`^(?:INFO: )?Error: (.+)$`) // the client of a Proxmox Backup Server
	jobFailed  = regexp.MustCompile(`^ERROR: (?:Backup of (?:VM|CT) \d+ failed - )?(.+)$`)
)

func isRootOnly(text string) bool { return rootOnly.MatchString(text) }

// parseDenied reads what a permission check says it missed.
func parseDenied(text string) *Denied {
	for line := range strings.SplitSeq(text, "\n") {
		m := denial.FindStringSubmatch(line)
		if m == nil {
			if isRootOnly(line) {
				return &Denied{Reason: line}
			}
			continue
		}
		if p := denialPath.FindStringSubmatch(m[1]); p != nil {
			return &Denied{Path: p[1], Privileges: strings.Split(p[2], "|"), Reason: p[3]}
		}
		return &Denied{Reason: m[1]}
	}
	return nil
}

// taskReasons are the lines that say why a task failed: its exit status, or
// for "job errors" (all that vzdump says) the errors in its log. A worker that
// ended without a last line may have left such errors too.
func taskReasons(exit string, log []string) []string {
	if exit != "job errors" && exit != "unexpected status" {
		return []string{exit}
	}
	var reasons []string
	if exit == "unexpected status" {
		reasons = []string{exit}
	}
	for _, line := range log {
		if m := clientSaid.FindStringSubmatch(line); m != nil && exit == "job errors" {
			return []string{m[1]} // what the job says of it is a long command, and its exit code
		}
	}
	for _, line := range log {
		if m := jobFailed.FindStringSubmatch(line); m != nil && !slices.Contains(reasons, m[1]) {
			reasons = append(reasons, m[1])
		}
	}
	if reasons == nil {
		return []string{exit}
	}
	return reasons
}

// said collects the texts and the class of what PVE said in an error, through
// any wrapping.
func said(err error) (texts []string, c class) {
	var api *APIError
	var task *TaskError
	switch {
	case errors.As(err, &api):
		texts = append(texts, api.Message)
		for _, text := range api.Fields {
			texts = append(texts, strings.TrimSpace(text))
		}
	case errors.As(err, &task):
		texts = taskReasons(task.ExitStatus, task.LogTail)
	}
	return texts, classify(texts)
}

func classify(texts []string) (c class) {
	for _, text := range texts {
		for _, p := range phrases {
			if p.form.MatchString(text) {
				c |= p.class
			}
		}
	}
	return c
}

func is(err error, want class) bool {
	_, c := said(err)
	return c&want != 0
}

func status(err error) int {
	if api, ok := errors.AsType[*APIError](err); ok {
		return api.Status
	}
	return 0
}

// IsNotFound tells that the guest (on that node), snapshot, storage, volume or
// task does not exist. A guest that lives on another node looks the same.
func IsNotFound(err error) bool { return is(err, notFound) }

// IsExists tells that a guest or a snapshot of that name exists already.
func IsExists(err error) bool { return is(err, exists) }

// IsLocked tells that another operation holds the guest.
func IsLocked(err error) bool { return is(err, locked) }

// LockOf is the word of the lock that a guest's config bears (backup,
// snapshot …). It is false where the error names none, also when IsLocked is
// true: a lock file was held for too long then.
func LockOf(err error) (word string, ok bool) {
	texts, _ := said(err)
	for _, text := range texts {
		if m := lockWord.FindStringSubmatch(text); m != nil {
			return m[1], true
		}
	}
	return "", false
}

// DeniedBy is the missing privilege that an error names, be it a refused call
// or a failed task; nil if none is the cause.
func DeniedBy(err error) *Denied {
	if api, ok := errors.AsType[*APIError](err); ok {
		return api.Denied
	}
	if task, ok := errors.AsType[*TaskError](err); ok {
		return task.Denied
	}
	return nil
}

// IsDenied tells that a privilege is missing.
func IsDenied(err error) bool { return DeniedBy(err) != nil }

// IsUnauthorized tells that the token was not accepted at all. PVE delays each
// such answer by 3 s; it does not help to try again.
func IsUnauthorized(err error) bool { return status(err) == 401 }

// IsDigestConflict tells that the config is no longer the one whose digest was
// sent along.
func IsDigestConflict(err error) bool { return is(err, digestConflict) }

// IsNotRunning tells that a guest to be stopped does not run. PVE says so of
// missing guests as well.
func IsNotRunning(err error) bool { return is(err, notRunning) }

// IsAlreadyRunning tells that a guest to be started runs.
func IsAlreadyRunning(err error) bool { return is(err, alreadyRunning) }

// IsBackupLimit tells that a retention of PVE's own, the storage's or else that of
// /etc/vzdump.conf, lets vzdump make no further archive of the guest.
func IsBackupLimit(err error) bool { return is(err, backupLimit) }

// IsTransient tells that the server, and not the request, was in the way: it
// may pass by itself. It does not say that the request was not carried out.
func IsTransient(err error) bool {
	if s := status(err); s >= 595 && s <= 599 || s >= 502 && s <= 504 {
		return true
	}
	if _, ok := errors.AsType[*TransportError](err); ok {
		return true
	}
	return is(err, busyServer) || isBrokenRead(err) || isServerPassing(err)
}

// isBrokenRead tells that PVE could not find out what a read asked for, since a connection
// within the node broke: 596 "Broken pipe", and seen on 9.2.11, while a container stops, 500
// "failed to read from command socket: Connection reset by peer" of their list.
func isBrokenRead(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && e.Method == "GET" && is(err, brokenRead)
}

// isServerPassing tells that a Proxmox Backup Server could not be read just now. A write that
// it refused is not sent again before it can be.
func isServerPassing(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && e.Method == "GET" && is(err, serverMaintenance|serverAway)
}

// IsStuck tells that PVE's proxy answers, and that what is behind it has not within 30
// seconds: something on the node hangs, or the daemon does.
func IsStuck(err error) bool { return status(err) == 596 }

// IsOutcomeUnknown tells that a call may or may not have been carried out: PVE
// gave up waiting for itself (596), or the answer was lost or unreadable.
func IsOutcomeUnknown(err error) bool {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Method != "GET" && (e.Status >= 596 && e.Status <= 599 || e.Status >= 502 && e.Status <= 504)
	}
	if e, ok := errors.AsType[*TransportError](err); ok {
		return e.Method != "GET" && e.Sent
	}
	if e, ok := errors.AsType[*AnswerError](err); ok {
		// A web page with an error status comes from something in front of PVE,
		// and a redirect from PVE before it reads: neither says that PVE acted.
		return e.Method != "GET" && (e.Status < 300 || e.Status >= 500)
	}
	return false
}

// IsNotDelivered tells that the request never reached the part of PVE that
// acts, so that it may be sent again.
func IsNotDelivered(err error) bool {
	if e, ok := errors.AsType[*TransportError](err); ok {
		return !e.Sent
	}
	return status(err) == 595
}

// IsPermanent tells that the same request will be refused again until somebody
// changes the request, the token, its rights or the connection's settings. A value
// that PVE could not apply to the guest as it is just now, a 400 as well, is not.
func IsPermanent(err error) bool {
	switch status(err) {
	case 401, 403, 404, 405, 501, 506:
		return true
	}
	if IsDenied(err) || status(err) == 400 && !is(err, notApplied) {
		return true
	}
	_, ok := errors.AsType[*CertificateError](err)
	return ok
}
