package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

// A running is a pvesim that serves in this process.
type running struct {
	t                *testing.T
	url, token, node string
	fingerprint      string
	stop             func() (exit int, errs string)
}

// output hands on what a program writes, line by line.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	for {
		line, err := o.text.ReadString('\n')
		if err != nil {
			o.text.WriteString(line)
			return len(p), nil
		}
		o.lines <- strings.TrimSuffix(line, "\n")
	}
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &output{lines: make(chan string, 100)}
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), out, &errs) }()
	r := &running{t: t}
	r.stop = sync.OnceValues(func() (int, string) {
		cancel()
		exit := <-ended
		return exit, errs.String()
	})
	t.Cleanup(func() { r.stop() })
	for !strings.HasPrefix(r.url, "https://") || r.node == "" || r.token == "" {
		select {
		case line := <-out.lines:
			key, value, _ := strings.Cut(line, " ")
			value = strings.TrimSpace(value)
			switch key {
			case "url":
				r.url = value
			case "node":
				r.node = value
			case "fingerprint":
				r.fingerprint = value
			case "token":
				r.token = value
			}
		case exit := <-ended:
			ended <- exit
			t.Fatalf("it ended with %d: %s", exit, errs.String())
		}
	}
	return r
}

func (r *running) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if got := strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":"); got != r.fingerprint {
				return fmt.Errorf("fingerprint %s, printed was %s", got, r.fingerprint)
			}
			return nil
		}},
	}}
}

func (r *running) ask(method, path, form string) (status, body string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+"/api2/json"+path, strings.NewReader(form))
	if err != nil {
		r.t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Authorization", "PVEAPIToken="+r.token)
	res, err := r.client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.Status, string(text)
}

// A client that knows nothing of Go's texts must see PVE's in the status line.
func TestStatusLines(t *testing.T) {
	r := start(t)
	big := "description=" + strings.Repeat("x", 600000)
	for _, c := range []struct{ request, want string }{
		{"GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401 No ticket"},
		{"GET /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\n\r\n", "HTTP/1.1 200 OK"},
		{"GET /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=felhom@pve!agent=wrong\r\n\r\n", "HTTP/1.1 401 Authentication failed!"},
		{"POST /api2/json/nodes/pve1/status HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\nContent-Length: 14\r\n\r\ncommand=reboot", "HTTP/1.1 403 Permission check failed (/nodes/pve1, Sys.PowerMgmt)"},
		{"PUT /api2/json/nodes/pve1/lxc/101/config HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\nContent-Length: 11\r\n\r\nmemory=lots", "HTTP/1.1 400 Parameter verification failed."},
		{"PUT /api2/json/nodes/pve1/lxc/101/config HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncores=1\r\n0\r\n\r\n", "HTTP/1.1 501 chunked transfer encoding not supported"},
		{"PUT /api2/json/nodes/pve1/lxc/101/config HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(big), big), "HTTP/1.1 501 for data too large"},
		{"PATCH /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\n\r\n", "HTTP/1.1 501 method 'PATCH' not available"},
		{"DELETE /api2/json/nodes/pve1/lxc/101 HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\nContent-Length: 7\r\n\r\nforce=1", "HTTP/1.1 501 Unexpected content for method 'DELETE'"},
		{"GET /nosuch/x HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=" + r.token + "\r\n\r\n", "HTTP/1.1 500 no such file '/nosuch/x'"},
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.request)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if got := strings.TrimSuffix(line, "\r\n"); got != c.want {
			t.Errorf("%.60q: %q (%v), want %q", c.request, got, err, c.want)
		}
		conn.Close()
	}
}

// What was done to the node is in its file when pvesim ends, and so is the certificate.
func TestTheWorldIsKept(t *testing.T) {
	world := filepath.Join(t.TempDir(), "node.yaml")
	r := start(t, "-world", world, "-speed", "1000")
	if status, body := r.ask("PUT", "/nodes/pve1/lxc/101/config", "description=kept"); status != "200 OK" {
		t.Fatal(status, body)
	}
	first := r.fingerprint
	if exit, errs := r.stop(); exit != 0 || errs != "" {
		t.Fatalf("it ended with %d: %s", exit, errs)
	}
	r = start(t, "-world", world)
	if _, body := r.ask("GET", "/nodes/pve1/lxc/101/config", ""); !strings.Contains(body, `"description":"kept\n"`) {
		t.Errorf("the change is not kept: %s", body)
	}
	if r.fingerprint != first {
		t.Errorf("another certificate: %s, before %s", r.fingerprint, first)
	}
	var out, errs bytes.Buffer
	if exit := run(t.Context(), []string{"-world", world, "-reinstall"}, &out, &errs); exit != exitFailed || !strings.Contains(errs.String(), "in use by another pvesim") {
		t.Errorf("reinstalled under a running pvesim: %d %s", exit, errs.String())
	}
}

func TestDataAndReinstall(t *testing.T) {
	world := filepath.Join(t.TempDir(), "node.yaml")
	start(t, "-world", world).stop()
	call := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if exit := run(t.Context(), append([]string{"-world", world}, args...), &out, &errs); exit != 0 {
			t.Fatalf("%q: %d: %s", args, exit, errs.String())
		}
		return out.String()
	}
	if lines := call("-data"); !regexp.MustCompile(`\A101 rootfs \S+\n\z`).MatchString(lines) {
		t.Errorf("data: %q", lines)
	}
	call("-reinstall")
	if lines := call("-data"); lines != "" {
		t.Errorf("data after the fire: %q", lines)
	}
	r := start(t, "-world", world)
	if _, body := r.ask("GET", "/nodes/pve1/lxc", ""); body != `{"data":[]}` {
		t.Errorf("guests after the fire: %s", body)
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		exit int
		says string
	}{
		{"-bogus", exitUsage, "-bogus"},
		{"node.yaml", exitUsage, "is no flag"},
		{"-data", exitUsage, "need -world"},
		{"-reinstall -data -world x", exitUsage, "exclude each other"},
		{"-speed 0", exitUsage, "above 0"},
		{"-fence /run/fence", exitUsage, "unix:PATH"},
		{"-data -world " + dir + "/none.yaml", exitFailed, "no such file"},
		{"-listen 127.0.0.1:99999", exitFailed, "invalid port"},
		{"-help", 0, ""},
		{"-version", 0, ""},
	} {
		var out, errs bytes.Buffer
		if exit := run(t.Context(), strings.Fields(c.args), &out, &errs); exit != c.exit || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: exit %d, %q; want %d and %q", c.args, exit, errs.String(), c.exit, c.says)
		}
	}
}

func TestVersion(t *testing.T) {
	var out, errs bytes.Buffer
	run(t.Context(), []string{"-version"}, &out, &errs)
	if !regexp.MustCompile(`\Apvesim development, a node of PVE 9\.2\.11, go1\.\S+\n\z`).MatchString(out.String()) || errs.String() != "" {
		t.Errorf("%q, %q", out.String(), errs.String())
	}
}

// An agent in another process reaches the simulated machine over the socket.
func TestFence(t *testing.T) {
	dir, err := os.MkdirTemp("", "pvesim") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "fence")
	r := start(t, "-fence", "unix:"+path)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mounts, err := privileged.Mounts(ctx, &privileged.SocketRunner{Path: path}, r.node)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range mounts {
		found = found || m.Path == "/" && m.Source == "/dev/sda2"
	}
	if !found {
		t.Errorf("the root disk is not among the mounts: %+v", mounts)
	}
	if exit, errs := r.stop(); exit != 0 || errs != "" {
		t.Errorf("it ended with %d: %s", exit, errs)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stays behind")
	}
}
