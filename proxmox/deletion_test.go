package proxmox

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

const oldDigest = "0123456789012345678901234567890123456789"

// oldGuest is a node whose guest 120 is as a deletion wants it, but for what is replaced.
func oldGuest(sent *[]string, replaced ...string) http.RoundTripper {
	answers := map[string]string{
		"/nodes/pve1/lxc/120/config":             `{"data":{"hostname":"old","digest":"` + oldDigest + `","description":"<!-- felhom-agent/1 old vmid=120 owner=pve1 -->\n"}}`,
		"/nodes/pve1/lxc/120/status/current":     `{"data":{"vmid":120,"status":"stopped","ha":{"managed":0}}}`,
		"/nodes/pve1/storage/usb-backup/content": `{"data":[{"volid":"usb-backup:backup/vzdump-lxc-120-2026_11_22-18_05_00.tar.zst","content":"backup","ctime":1763831100,"format":"tar.zst","size":5000,"vmid":120}]}`,
	}
	return fake(func(r *http.Request) (*http.Response, error) {
		path := strings.TrimPrefix(r.URL.Path, "/api2/json")
		if r.Method == "DELETE" {
			*sent = append(*sent, r.Method+" "+path+"?"+r.URL.RawQuery+" "+strings.SplitN(r.Header.Get("Authorization"), "=", 3)[1])
			return response("200 OK", `{"data":"`+startedUPID+`"}`), nil
		}
		return response("200 OK", strings.NewReplacer(replaced...).Replace(answers[path])), nil
	})
}

// A guest is deleted only if everything is as it was judged, read again just before; by the agent's token, that of a
// test by the token of the tests. Nothing else is sent.
func TestADeletionIsSentOnlyIfAllIsAsItWasJudged(t *testing.T) {
	good := Deletion{Call: On("pve1").DestroyGuest(120), Hostname: "old", Digest: oldDigest, Marker: "felhom-agent/1 old vmid=120 owner=pve1",
		Backup: "usb-backup:backup/vzdump-lxc-120-2026_11_22-18_05_00.tar.zst", Size: 5000}
	but := func(change func(*Deletion)) Deletion {
		d := good
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		deletion Deletion
		replaced []string
		sent     string
	}{
		"all is well":         {good, nil, "DELETE /nodes/pve1/lxc/120? felhom@pve!agent"},
		"without a backup":    {but(func(d *Deletion) { d.Backup = "" }), nil, "DELETE /nodes/pve1/lxc/120? felhom@pve!agent"},
		"of a test":           {but(func(d *Deletion) { d.Test, d.Backup = true, "" }), nil, "DELETE /nodes/pve1/lxc/120? felhom-test@pve!tests"},
		"another name":        {good, []string{`"hostname":"old"`, `"hostname":"new"`}, ""},
		"no marker":           {good, []string{"felhom-agent/1 old", "mine"}, ""},
		"of another owner":    {good, []string{"owner=pve1", "owner=pve2"}, ""},
		"edited":              {good, []string{oldDigest, "1" + oldDigest[1:]}, ""},
		"protected":           {good, []string{`"hostname"`, `"protection":1,"hostname"`}, ""},
		"a template":          {good, []string{`"hostname"`, `"template":1,"hostname"`}, ""},
		"locked":              {good, []string{`"hostname"`, `"lock":"backup","hostname"`}, ""},
		"locked just now":     {good, []string{`"status":"stopped"`, `"status":"stopped","lock":"backup"`}, ""},
		"running":             {good, []string{`"status":"stopped"`, `"status":"running"`}, ""},
		"managed by HA":       {good, []string{`"managed":0`, `"managed":1`}, ""},
		"its backup is gone":  {good, []string{"2026_11_22-18_05_00", "2026_11_22-18_05_01"}, ""},
		"its backup is short": {good, []string{`"size":5000`, `"size":4999`}, ""},
		"no digest":           {but(func(d *Deletion) { d.Digest = "" }), nil, ""},
		"no name":             {but(func(d *Deletion) { d.Hostname = "" }), nil, ""},
		"no marker is asked":  {but(func(d *Deletion) { d.Marker = "" }), nil, ""},
		"purge":               {but(func(d *Deletion) { d.Call.Params = Params{"purge": "1"} }), nil, ""},
		"force":               {but(func(d *Deletion) { d.Call.Params = Params{"force": "1"} }), nil, ""},
		"another call":        {but(func(d *Deletion) { d.Call = On("pve1").DeleteSnapshot(120, "a") }), nil, ""},
		"unreadable":          {good, []string{`"status":"stopped"`, `"status":""`}, ""},
	} {
		var sent []string
		node := oldGuest(&sent, c.replaced...)
		_, err := NewGuestDeleter(testClient(t, node), testGuests(t, node)).Delete(t.Context(), c.deletion)
		var guard *GuardError
		switch got := strings.Join(sent, "; "); {
		case got != c.sent:
			t.Errorf("%s: sent %q, %v", name, got, err)
		case c.sent == "" && !errors.As(err, &guard), c.sent != "" && err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
	var sent []string
	node := oldGuest(&sent)
	if _, err := NewGuestDeleter(testClient(t, node), nil).Delete(t.Context(), but(func(d *Deletion) { d.Test = true })); err == nil || len(sent) > 0 {
		t.Errorf("without a token of tests: %v, %q", err, sent)
	}
}
