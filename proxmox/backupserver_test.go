package proxmox

import (
	"errors"
	"testing"
	"time"
)

func TestTroubleOf(t *testing.T) {
	read := func(text string) error { return &APIError{Method: "GET", Status: 500, Message: text} }
	dump := func(log ...string) error {
		return &TaskError{ExitStatus: "job errors", LogTail: append(log, "ERROR: Backup of VM 101 failed - command 'proxmox-backup-client backup' failed: exit code 255")}
	}
	for want, errs := range map[ServerTrouble][]error{
		ServerMaintenance: {read("error listing snapshots - 500 Internal Server Error: offline maintenance mode: a new disk"), dump("INFO: Error: read-only maintenance mode"),
			&TaskError{ExitStatus: "Error: datastore is being deleted"}},
		ServerFull:   {dump("INFO: Error: inserting chunk failed - ENOSPC: No space left on device")},
		ServerOwner:  {dump("INFO: Error: backup owner check failed (a@pbs!x != b@pbs!y)")},
		ServerDenies: {read("error listing snapshots - 403 Forbidden: permission check failed"), &TaskError{ExitStatus: "Error: permission check failed"}},
		ServerKey: {&TaskError{ExitStatus: "missing key - manifest was created with key AA:BB"}, read("encryption configured ('AA:BB') but no encryption key file found!"),
			&TaskError{ExitStatus: "unable to restore CT 111 - wrong key - manifest's key AA does not match provided key BB"}},
		ServerAway: {read("error listing snapshots - 500 Can't connect to 192.0.2.9:8007 (Connection timed out)"), read("error listing snapshots - 500 read timeout")},
		"": {errors.New("x"), &TaskError{ExitStatus: "job errors", LogTail: []string{"INFO: zstd: error 70 : Write error : cannot write block : No space left on device"}},
			&APIError{Method: "GET", Status: 403, Message: "Permission check failed (/vms/1, VM.Backup)"}},
	} {
		for _, err := range errs {
			if got := TroubleOf(err); got != want {
				t.Errorf("%v: %q, want %q", err, got, want)
			}
		}
	}
	if !IsTransient(read("error listing snapshots - 500 read timeout")) || IsTransient(&APIError{Method: "PUT", Status: 500, Message: "Error: read-only maintenance mode"}) {
		t.Error("a read may pass; a write that was refused is not sent again at once")
	}
	const cause = "backup owner check failed (a@pbs!x != b@pbs!y)"
	if task := dump("INFO: Error: " + cause).(*TaskError); task.Reason() != cause {
		t.Errorf("the reason is %q", task.Reason())
	}
}

func TestVerifiedAt(t *testing.T) {
	for upid, want := range map[string]time.Time{
		"UPID:pbs:00000F1D:00012584:00000001:6B03308F:verify:home:root@pam:": time.Unix(0x6B03308F, 0),
		"": {}, "x": {}, "UPID:pbs:::::::": {}, "UPID:pbs:1:2:3:FFFFFFFFFFFFFFFFFF:verify:x:": {}, "UPID:pbs:1:2:3:-5:verify:x:": {}, "UPID:pbs:1:2:3:0:verify:x:": {},
	} {
		if got := verifiedAt(upid); !got.Equal(want) {
			t.Errorf("%s: %s", upid, got)
		}
	}
}
