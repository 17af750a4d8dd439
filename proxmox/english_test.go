package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// predicates by name, for the table below.
var predicates = map[string]func(error) bool{
	"not found": IsNotFound, "exists": IsExists, "locked": IsLocked, "denied": IsDenied, "unauthorized": IsUnauthorized,
	"digest": IsDigestConflict, "transient": IsTransient, "unknown": IsOutcomeUnknown, "not delivered": IsNotDelivered,
	"permanent": IsPermanent, "backup limit": IsBackupLimit, "not running": IsNotRunning, "already running": IsAlreadyRunning,
}

func verdicts(err error) string {
	var yes []string
	for name, is := range predicates {
		if is(err) {
			yes = append(yes, name)
		}
	}
	slices.Sort(yes)
	return strings.Join(yes, ", ")
}

// TestEnglish is the one place that knows PVE's words. Every text is one that
// a real node said, or that its source says.
func TestEnglish(t *testing.T) {
	for _, c := range []struct{ status, text, want string }{
		{"500", "Configuration file 'nodes/demo-felhom/lxc/999.conf' does not exist", "not found"},
		{"500", "snapshot 'nosuch' does not exist", "not found"},
		{"500", "storage 'nosuch' does not exist", "not found"},
		{"500", "volume 'local:backup/vzdump-lxc-100-2020_01_01-00_00_00.tar.zst' does not exist", "not found"},
		{"500", "bridge 'nosuch0' does not exist", ""},
		{"500", "hostname lookup 'othernode' failed - failed to get address info for: othernode: Temporary failure in name resolution", ""},
		{"500", "CT 100 already exists on node 'demo-felhom'", "exists"},
		{"500", "VM 100 already exists on node 'pve'", "exists"},
		{"500", "CT is locked (backup)", "locked"},
		{"500", "unable to restore CT 103 - CT is locked (snapshot-delete)", "locked"},
		{"500", "CT is locked (backup) at /usr/share/perl5/PVE/AbstractConfig.pm line 444.", "locked"},
		{"500", "can't lock file '/run/lock/lxc/pve-config-307.lock' - got timeout", "locked, transient"},
		{"500", "can't lock file '/var/lock/pve-manager/pve-migrate-100' - got timeout", "locked, transient"},
		{"500", "Failed to obtain guest migration lock - replication running?", "locked, transient"},
		{"500", "unable to create CT 9011 - can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout", "transient"},
		{"500", "cfs-lock 'storage-x' error: got lock request timeout", "transient"},
		{"500", "cluster not ready - no quorum?", "transient"},
		{"500", "RPCEnvironment init request failed: Unable to load access control list: Connection refused", "transient"},
		{"500", "detected modified configuration - file changed by other user? Try again.", "digest"},
		{"500", "CT 999 not running", "not running"},
		{"500", "VM 100 not running", "not running"},
		{"500", "CT 100 already running", "already running"},
		{"500", "can't overwrite running container", ""},
		{"500", "can't remove CT 104 - protection mode enabled", ""},
		{"500", "unable to shrink disk size", ""},
		{"500", "storage 'off-backup' is disabled", ""},
		{"500", "unable to activate storage 'usb-backup' - directory is expected to be a mount point but is not mounted: '/mnt/usb'", ""},
		{"500", "no options specified", ""},
		{"401", "Authentication failed!", "permanent, unauthorized"},
		{"401", "No ticket", "permanent, unauthorized"},
		{"403", "Permission check failed (/vms/100, VM.Audit)", "denied, permanent"},
		{"403", "Permission check failed", "denied, permanent"},
		{"400", "Parameter verification failed.", "permanent"},
		{"501", "Method 'POST /version' not implemented", "permanent"},
		{"506", "upload 'Content-Type 'text/plain' not implemented", "permanent"},
		{"595", "Connection refused", "not delivered, transient"},
		{"595", "No route to host", "not delivered, transient"},
		{"596", "Connection timed out", "transient, unknown"},
		{"596", "Broken pipe", "transient, unknown"},
		{"599", "Too many redirections", "transient, unknown"},
	} {
		c2 := testClient(t, fake(func(*http.Request) (*http.Response, error) {
			return response(c.status+" "+c.text, ""), nil
		}))
		_, err := c2.Stop(t.Context(), "pve1", 100)
		if got := verdicts(fmt.Errorf("while converging: %w", err)); got != c.want {
			t.Errorf("%s %s: %s; want %s", c.status, c.text, got, c.want)
		}
		if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "POST /nodes/pve1/lxc/100/status/stop") {
			t.Errorf("%q does not say what happened to what", err)
		}
	}

	upid := UPID{Node: "pve1", Type: "vzstart", ID: "100", User: "root@pam"}
	for exit, want := range map[string]string{
		"CT is locked (backup)": "locked",
		"unable to restore CT 105 - volume 'local:backup/vzdump-lxc-105-2020_01_01-00_00_00.tar.zst' does not exist": "not found",
		"unable to restore CT 202 - 403 Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)":            "denied, permanent",
		"unable to restore CT 203 - restoring 'mp0' to bind mount is only possible for root":                         "denied, permanent",
		"snapshot name 'felhom_20261122' already used":                                                               "exists",
		"snapshot 'second' does not exist":                                                                           "not found",
		"snapshot feature is not available":                                                                          "",
		"no such logical volume pve/vm-302-disk-99":                                                                  "",
		"unexpected status": "",
		"Failed to obtain guest migration lock - replication running?":                                  "locked, transient",
		"cannot remove protected volume 'backup/vzdump-lxc-101-2026_11_22-18_21_14.tar.zst' on 'local'": "",
		"received interrupt": "",
	} {
		err := &TaskError{UPID: upid, ExitStatus: exit, Denied: parseDenied(exit)}
		if got := verdicts(fmt.Errorf("later: %w", err)); got != want {
			t.Errorf("task %q: %s; want %s", exit, got, want)
		}
	}
	// A value that a running guest could not take is refused like a wrong one, and is
	// none: the guest, or the node, may take it later.
	for text, want := range map[string]string{
		"type check ('integer') failed - got 'lots'":                                                                       "permanent",
		"unable to hotplug memory: can't open '/sys/fs/cgroup/lxc/100/memory.max' - No such file or directory":             "",
		"unable to apply pending change mp0 : no such logical volume pve/vm-100-disk-9":                                    "",
		"unable to apply pending change mp0 : can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout": "transient",
		"unable to hotplug net0: 403 Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)":                     "denied, permanent",
	} {
		body, _ := json.Marshal(map[string]any{"errors": map[string]string{"x": text + "\n"}, "message": "Parameter verification failed.\n", "data": nil})
		c := testClient(t, fake(func(*http.Request) (*http.Response, error) {
			return response("400 Parameter verification failed.", string(body)), nil
		}))
		_, err := c.SetConfig(t.Context(), "pve1", 100, ConfigChange{Delete: []string{"x"}})
		if got := verdicts(err); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
	job := &TaskError{UPID: upid, ExitStatus: "job errors", LogTail: []string{
		"INFO: starting new backup job: vzdump 105 --storage local",
		"ERROR: Backup of VM 105 failed - CT is locked (backup)",
		"INFO: Failed at 2026-11-22 18:25:00",
		"TASK ERROR: job errors",
	}}
	if got := verdicts(job); got != "locked" || job.Reason() != "CT is locked (backup)" {
		t.Errorf("failed backup: %s, %s", got, job.Reason())
	}
	// A backup that waited in vain for another one ends without a last line.
	for line, want := range map[string]string{
		"ERROR: can't acquire lock '/var/run/vzdump.lock' - got timeout":           "transient",
		"ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)":              "transient",
		"ERROR: can't acquire lock '/var/run/vzdump.lock' - interrupted by signal": "",
	} {
		waited := &TaskError{UPID: upid, ExitStatus: "unexpected status", LogTail: []string{"INFO: trying to get global lock - waiting...", line}}
		if got := verdicts(waited); got != want || waited.Reason() != "unexpected status; "+strings.TrimPrefix(line, "ERROR: ") {
			t.Errorf("%s: %s, %s", line, got, waited.Reason())
		}
	}
	if killed := (&TaskError{ExitStatus: "unexpected status", LogTail: []string{"INFO: Starting Backup of VM 105 (lxc)"}}); killed.Reason() != "unexpected status" {
		t.Errorf("killed: %s", killed.Reason())
	}
	limit := &TaskError{UPID: upid, ExitStatus: "job errors", LogTail: []string{"ERROR: Backup of VM 105 failed - There is a max backup limit of 3 enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups."}}
	if got := verdicts(limit); got != "backup limit" {
		t.Errorf("%v: %s", limit, got)
	}
	if word, ok := LockOf(job); word != "backup" || !ok {
		t.Errorf("LockOf: %q, %v", word, ok)
	}
	if word, ok := LockOf(errors.New("CT is locked (backup)")); ok {
		t.Errorf("a lock %q in an error that is not PVE's", word)
	}
}

func TestErrorsOfTheNetwork(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&TransportError{"POST", "/x", true, io.ErrUnexpectedEOF}, "transient, unknown"},
		{&TransportError{"POST", "/x", false, errors.New("dial")}, "not delivered, transient"},
		{&TransportError{"GET", "/x", true, io.ErrUnexpectedEOF}, "transient"},
		{&TransportError{"POST", "/x", true, context.DeadlineExceeded}, "transient, unknown"},
		{&CertificateError{"h", "AA", "BB", nil}, "permanent"},
		{&AnswerError{"POST", "/x", 200, "it is a web page"}, "unknown"},
		{&AnswerError{"POST", "/x", 301, "it redirects"}, ""},
		{&AnswerError{"GET", "/x", 200, "it is a web page"}, ""},
		{&WaitError{UPID{}, context.Canceled}, ""},
		{errors.New("CT 100 not running"), ""},
		{nil, ""},
	} {
		if got := verdicts(c.err); got != c.want {
			t.Errorf("%v: %s; want %s", c.err, got, c.want)
		}
	}
}

func TestParseDenied(t *testing.T) {
	for text, want := range map[string]*Denied{
		"Permission check failed (/vms/100, VM.Audit)":                                                   {Path: "/vms/100", Privileges: []string{"VM.Audit"}},
		"Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)":              {Path: "/storage/local", Privileges: []string{"Datastore.Audit", "Datastore.AllocateSpace"}},
		"Permission check failed (/vms/1, VM.Snapshot.Rollback)":                                         {Path: "/vms/1", Privileges: []string{"VM.Snapshot.Rollback"}},
		"Permission check failed (/, Sys.Modify for modifying tag 'x')":                                  {Path: "/", Privileges: []string{"Sys.Modify"}, Reason: "for modifying tag 'x'"},
		"Permission check failed":                                                                        {},
		"Permission check failed (pool 'nopool' does not exist)":                                         {Reason: "pool 'nopool' does not exist"},
		"Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)": {Reason: "changing feature flags (except nesting) is only allowed for root@pam"},
		"Permission check failed (configuring device passthrough is only allowed for root@pam)":          {Reason: "configuring device passthrough is only allowed for root@pam"},
		"unable to restore CT 206 - 403 Permission check failed (/, Sys.Modify)":                         {Path: "/", Privileges: []string{"Sys.Modify"}},
		"403 Permission check failed (/vms/302, VM.Backup)":                                              {Path: "/vms/302", Privileges: []string{"VM.Backup"}},
		"restoring 'mp0' to bind mount is only possible for root":                                        {Reason: "restoring 'mp0' to bind mount is only possible for root"},
		"Only root may set this option.":                                                                 {Reason: "Only root may set this option."},
		"CT is locked (backup)":                                                                          nil,
		"":                                                                                               nil,
	} {
		if diff := cmp.Diff(want, parseDenied(text)); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
	for text, says := range map[string]string{
		"Permission check failed (/vms/100, VM.Audit)":                                  "lacks VM.Audit on /vms/100: add it to the role that the token and its user have (pveum role modify ROLE --append 1 --privs VM.Audit)",
		"Permission check failed (mount point type bind is only allowed for root@pam)":  "as root on the node",
		"Permission check failed (/storage/s, Datastore.Audit|Datastore.AllocateSpace)": "Datastore.Audit or Datastore.AllocateSpace on /storage/s",
	} {
		d := parseDenied(text)
		if !strings.Contains(d.String(), says) || d.RootOnly() != strings.Contains(says, "root") {
			t.Errorf("%q says %q", text, d)
		}
	}
}

// FuzzParseDenied holds that no text of PVE's makes a path out of something
// that is none.
func FuzzParseDenied(f *testing.F) {
	f.Add("Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)")
	f.Add("unable to restore CT 206 - 403 Permission check failed (/, Sys.Modify for modifying tag 'x')")
	f.Add("Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)\nx")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseDenied(text)
		if d == nil {
			return
		}
		if (d.Path == "") != (len(d.Privileges) == 0) || d.Path != "" && d.Path[0] != '/' {
			t.Fatalf("%q: %+v", text, d)
		}
		for _, p := range append(d.Privileges, d.Path) {
			if p != "" && !strings.Contains(text, p) {
				t.Fatalf("%q never says %q", text, p)
			}
		}
		_ = d.String()
	})
}

// TestMessages: before late 8.3 PVE said it in the status line only, and a
// parameter's error in the body.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name, line, body, message string
		fields                    map[string]string
	}{
		{"old", "500 CT 100 not running", `{"data":null}`, "CT 100 not running", nil},
		{"new", "500 CT 100 not running", `{"message":"CT 100 not running\n","data":null}`, "CT 100 not running", nil},
		{"two lines", "500 first", `{"message":"first\nsecond\n","data":null}`, "first\nsecond", nil},
		{"plain text", "500 no such file '/nosuch/x'", "no such file '/nosuch/x'\n", "no such file '/nosuch/x'", nil},
		{"no body", "596 Broken pipe", "", "Broken pipe", nil},
		{"no text at all", "500", "", "Internal Server Error", nil},
		{"nor that", "597", "", "no message", nil},
		{"web page", "502 Bad Gateway", "<html><h1>nginx</h1></html>", "Bad Gateway (a web page, not PVE's API: is something in front of it?)", nil},
		{
			"fields", "400 Parameter verification failed.",
			`{"errors":{"snapname":"invalid format - invalid configuration ID 'a'\n","n":7},"data":null,"message":"Parameter verification failed.\n"}`,
			"Parameter verification failed.", map[string]string{"snapname": "invalid format - invalid configuration ID 'a'", "n": "7"},
		},
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response(c.line, c.body), nil }))
		_, err := client.Start(t.Context(), "pve1", 100)
		api, ok := errors.AsType[*APIError](err)
		if !ok {
			t.Errorf("%s: %T %v", c.name, err, err)
			continue
		}
		if diff := cmp.Diff(APIError{"POST", "/nodes/pve1/lxc/100/status/start", api.Status, c.message, c.fields, nil}, *api); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		for _, text := range c.fields {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q does not say %q", c.name, err, text)
			}
		}
	}
}
