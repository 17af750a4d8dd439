package pvesim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func TestWhatTheHTTPLayerSays(t *testing.T) {
	const put = "PUT /api2/json" + lxc + "/101/config"
	for _, c := range []struct {
		name, request, header, body string
		status, answer              string
	}{
		{"no credentials", "GET /api2/json/version", "", "", "401 No ticket", ""},
		{"a colon", "GET /api2/json/version", "PVEAPIToken:SECRET", "", "401 No ticket", ""},
		{"a blank", "GET /api2/json/version", "PVEAPIToken SECRET", "", "200 OK", `{"data":{"version":"9.2.11"`},
		{"a wrong secret", "GET /api2/json/version", "PVEAPIToken=felhom@pve!agent=wrong", "", "401 Authentication failed!", ""},
		{"an unknown user", "GET /api2/json/version", "PVEAPIToken=nobody@pve!agent=wrong", "", "401 Authentication failed!", ""},
		{"empty components", "GET /api2/json//version", "ok", "", "200 OK", `{"data":`},
		{"an encoded slash", "GET /api2/json/nodes%2Fpve1%2Flxc", "ok", "", "200 OK", `{"data":`},
		{"an unknown path", "GET /api2/json/nosuch", "ok", "", "501 Method 'GET /nosuch' not implemented", `{"data":null,"message":"Method 'GET /nosuch' not implemented"}`},
		{"a wrong method", "POST /api2/json/version", "ok", "", "501 Method 'POST /version' not implemented", ""},
		{"a method nobody has", "PATCH /api2/json/version", "ok", "", "501 method 'PATCH' not available", ""},
		{"no format", "GET /api2/", "ok", "", "501 no such uri", "no such uri"},
		{"an unknown format", "GET /api2/foo/version", "ok", "", "501 no formatter for uri /version, foo", "no formatter for uri /version, foo"},
		{"no API", "GET /nosuch/x", "ok", "", "500 no such file '/nosuch/x'", "no such file '/nosuch/x'\n"},
		{"DELETE with a body", "DELETE /api2/json" + lxc + "/101", "ok", "force=1", "501 Unexpected content for method 'DELETE'", "Unexpected content for method 'DELETE'"},
		{"an odd type", put, "ok|text/plain", "x=1", "506 upload 'Content-Type 'text/plain' not implemented", "upload 'Content-Type 'text/plain' not implemented"},
		{"JSON", put, "ok|application/json; charset=utf-8", `{"onboot":true,"cores":3,"delete":["swap","tags"]}`, "200 OK", `{"data":null}`},
		{"broken JSON", put, "ok|application/json", `{bad`, `500 '"' expected, at character offset 1 (before "bad") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.`, `'"' expected`},
		{"too much", put, "ok", "description=" + strings.Repeat("x", 600000), "501 for data too large", "for data too large"},
		{"nothing", put, "ok", "", "500 no options specified", `{"data":null,"message":"no options specified\n"}`},
		{"an unknown parameter", put, "ok", "foo=1", "400 Parameter verification failed.", `"errors":{"foo":"property is not defined in schema and the schema does not allow additional properties"}`},
		{"wrong types", put, "ok", "onboot=true&cores=x&memory=1", "400 Parameter verification failed.",
			`"errors":{"cores":"type check ('integer') failed - got 'x'","memory":"value must have a minimum value of 16","onboot":"type check ('boolean') failed - got 'true'"}`},
		{"the path's parameter again", put, "ok", "vmid=102&cores=1", "400 Parameter verification failed.", `"vmid":"duplicate parameter (already defined in URI) with conflicting values!"`},
		{"a number that is none", "GET /api2/json" + lxc + "/abc/config", "ok", "", "400 Parameter verification failed.", `"vmid":"type check ('integer') failed - got 'abc'"`},
		{"too low a number", "GET /api2/json" + lxc + "/99/config", "ok", "", "400 Parameter verification failed.", `"vmid":"invalid format - value does not look like a valid VM ID\n"`},
		{"an unescaped =", put, "ok", "net0=name=eth0,bridge=vmbr0", "400 Parameter verification failed.", `"net0":"invalid format - value without key, but schema does not define a default key\n"`},
		{"an unknown node", "GET /api2/json/nodes/nosuch/lxc", "ok", "", "500 hostname lookup 'nosuch' failed - failed to get address info for: nosuch: Temporary failure in name resolution", ""},
		{"localhost", "GET /api2/json/nodes/localhost/lxc/101/config", "ok", "", "200 OK", `"hostname":"dns"`},
		{"no such guest", "GET /api2/json" + lxc + "/999/config", "ok", "", "500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New()
				method, path, _ := strings.Cut(c.request, " ")
				var body io.Reader
				if c.body != "" {
					body = strings.NewReader(c.body)
				}
				req, err := http.NewRequest(method, "https://node:8006"+path, body)
				if err != nil {
					t.Fatal(err)
				}
				auth, ctype, _ := strings.Cut(c.header, "|")
				if ctype != "" {
					req.Header.Set("Content-Type", ctype)
				}
				secret := s.TokenID() + "=" + s.TokenSecret()
				if auth == "ok" {
					auth = "PVEAPIToken=" + secret
				}
				if auth = strings.ReplaceAll(auth, "SECRET", secret); auth != "" {
					req.Header.Set("Authorization", auth)
				}
				began := time.Now()
				res, err := s.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(res.Body)
				if res.Status != c.status {
					t.Errorf("status %q, want %q", res.Status, c.status)
				}
				if !strings.Contains(string(got), c.answer) {
					t.Errorf("body %s\nwant %s", got, c.answer)
				}
				if late := time.Since(began) >= 3*time.Second; late != (res.StatusCode == 401) {
					t.Errorf("answered after %v; only a 401 takes three seconds", time.Since(began))
				}
				if res.Close != (res.StatusCode >= 400) {
					t.Errorf("close = %v with status %d; every error closes", res.Close, res.StatusCode)
				}
			})
		})
	}
}

func TestServedOverAConnectionTheStatusLineBearsTheText(t *testing.T) {
	s := New()
	s.SetAuthDelay(0)
	srv := httptest.NewTLSServer(s)
	defer srv.Close()
	get := func(path, auth string) (string, string) {
		req, _ := http.NewRequest("GET", srv.URL+path, nil)
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.Status, string(b)
	}
	auth := "PVEAPIToken=" + s.TokenID() + "=" + s.TokenSecret()
	if st, _ := get("/api2/json/version", ""); st != "401 No ticket" {
		t.Error(st)
	}
	if st, b := get("/api2/json"+lxc+"/999/config", auth); st != "500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist" || !strings.Contains(b, `"message":"Configuration file`) {
		t.Error(st, b)
	}
	// The web interface's format is a 200 whatever happened; what it looks like inside is
	// read in the source, not recorded.
	if st, b := get("/api2/extjs"+lxc+"/999/config", auth); st != "200 OK" || !strings.HasSuffix(b, `,"success":0,"status":500}`) || !strings.Contains(b, "does not exist") {
		t.Error(st, b)
	}
	if st, b := get("/api2/extjs/version", auth); st != "200 OK" || !strings.HasSuffix(b, `},"success":1}`) {
		t.Error(st, b)
	}
	if st, b := get("/api2/json/version", auth); st != "200 OK" || !strings.Contains(b, "9.2.11") {
		t.Error(st, b)
	}
	if err := s.Inject(world.Fault{Match: "GET /version", Effect: "eof", Times: -1}); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("GET", srv.URL+"/api2/json/version", nil)
	req.Header.Set("Authorization", auth)
	if res, err := srv.Client().Do(req); err == nil {
		t.Errorf("the connection was to be closed, got %s", res.Status)
	}
}

func TestAnswersAreCompressedOnRequest(t *testing.T) {
	s := New()
	req := request(t, s, "GET", "/access/permissions")
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("Content-Encoding %q", got)
	}
}
