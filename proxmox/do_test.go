package proxmox

import (
	"errors"
	"io"
	"net/http"
	"testing"
)

func TestDo(t *testing.T) {
	for answer, want := range map[string]string{
		`{"data":"` + startedUPID + `"}`: startedUPID,
		`{"data":null}`:                  "error", // a start is a task
		`{"data":"OK"}`:                  "error",
		`{"data":"UPID:broken"}`:         "error",
		`{"data":7}`:                     "error",
		`{"data":["x"]}`:                 "error",
		`{}`:                             "error",
		`null`:                           "error",
		`[]`:                             "error",
		``:                               "error",
		`{"data":"UPID:pve1:000007`:      "error",
		`<html>hello</html>`:             "error",
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", answer), nil }))
		upid, err := client.Start(t.Context(), "pve1", 100)
		switch {
		case want == "error":
			if _, ok := errors.AsType[*AnswerError](err); !ok || !IsOutcomeUnknown(err) || !upid.IsZero() {
				t.Errorf("%s: %v, %T %v; want an AnswerError with unknown outcome", answer, upid, err, err)
			}
		case err != nil || upid.String() != want:
			t.Errorf("%s: %v, %v", answer, upid, err)
		}
	}
	// What is done at once is answered with null, and a backup of guests that live
	// on another node with "OK".
	for name, c := range map[string]struct {
		call   Call
		answer string
		ok     bool
	}{
		"config":              {On("pve1").SetConfig(100, ConfigChange{Delete: []string{"tags"}}), `{"data":null}`, true},
		"notes":               {On("pve1").SetNotes("local:backup/x.tar", ""), `{"data":null}`, true},
		"backup":              {On("pve1").Vzdump(VzdumpSpec{VMIDs: []VMID{100}}), `{"data":"OK"}`, true},
		"backup without word": {On("pve1").Vzdump(VzdumpSpec{VMIDs: []VMID{100}}), `{"data":null}`, false},
		"restore":             {On("pve1").RestoreLXC(RestoreSpec{VMID: 100, Archive: "local:backup/x.tar"}), `{"data":null}`, false},
		"deletion":            {On("pve1").DeleteVolume("local:backup/x.tar"), `{"data":null}`, false},
		"resize":              {On("pve1").Resize(100, "rootfs", GiB), `{"data":"OK"}`, false},
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", c.answer), nil }))
		upid, err := client.Do(t.Context(), c.call)
		if _, odd := errors.AsType[*AnswerError](err); !upid.IsZero() || (err == nil) != c.ok || !c.ok && (!odd || !IsOutcomeUnknown(err)) {
			t.Errorf("%s: %s: %v, %v", name, c.answer, upid, err)
		}
	}
}

// TestNoOtherCallThanMeant: PVE skips empty parts of a path.
func TestNoOtherCallThanMeant(t *testing.T) {
	client := testClient(t, fake(func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent %s %s", r.Method, r.URL)
		return nil, io.EOF
	}))
	for _, call := range []Call{
		{}, {"GET", "/nodes/pve1/lxc", nil}, {"post", "/nodes/pve1/lxc", nil}, {"POST", "nodes/pve1/lxc", nil}, On("").Start(100), On("..").Start(100),
		On("pve1").DeleteSnapshot(100, ""), On("pve1").Rollback(100, ""), On("pve1").DeleteVolume(""), On("pve1").DeleteVolume("local:" + "a/../b"),
		On("pve1").DeleteSnapshot(100, "a\nb"), On("a//b").Stop(100),
		{"PUT", "/nodes/pve1/lxc/100/config", Params{"cores": "2", "digest": ""}},
	} {
		_, err := client.Do(t.Context(), call)
		if got := verdicts(err); err == nil || got != "" {
			t.Errorf("%s: %v, %s", call, err, got)
		}
	}
}
