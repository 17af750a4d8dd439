package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A watchedHome is a simulated node behind HTTPS, a folder of YAML, and the agent as a process of its own that
// watches both, as systemd starts it.
type watchedHome struct {
	t       testing.TB
	sim     *pvesim.Sim
	desired string // the folder
	state   string // the state directory
	out     locked // what the agent prints, on both ways
	notes   locked // what it tells the service manager, a line each
	answer  atomic.Pointer[http.Handler]
	process *exec.Cmd
	ended   chan error
	client  *http.Client // to the page
}

// locked is a buffer that one writes and another reads.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const oneGuest = `guests:
  dns: {vmid: 101, config: {memory: %dMiB}, state: running, drift: heal}
`

// newWatchedHome starts the agent; env comes on top of what it needs to reach the node.
func newWatchedHome(t testing.TB, env ...string) *watchedHome {
	t.Helper()
	return newWatchedHomeOf(t, fmt.Sprintf(oneGuest, 512), env...)
}

// newWatchedHomeOf starts it with other YAML.
func newWatchedHomeOf(t testing.TB, text string, env ...string) *watchedHome {
	t.Helper()
	dir := t.TempDir()
	h := &watchedHome{t: t, sim: pvesim.New(), desired: filepath.Join(dir, "desired"), state: filepath.Join(dir, "state"), ended: make(chan error, 1)}
	h.sim.SetSpeed(simulated.WorldSpeed)
	h.sim.SetAuthDelay(0)
	h.nodeAnswers(h.sim)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h.answer.Load()).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	if err := os.Mkdir(h.desired, 0o755); err != nil {
		t.Fatal(err)
	}
	h.write("home.yaml", text)

	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	go func() {
		message := make([]byte, 4096)
		for {
			n, err := manager.Read(message)
			if err != nil {
				return
			}
			fmt.Fprintf(&h.notes, "%s\n", message[:n])
		}
	}()

	page := filepath.Join(dir, "page")
	h.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", page)
	}}}
	sum := sha256.Sum256(server.Certificate().Raw)
	h.process = exec.Command("felhom-agent", "--watch", h.desired)
	h.process.Dir = dir
	h.process.Stdout, h.process.Stderr = &h.out, &h.out
	h.process.Env = append(os.Environ(), "STATE_DIRECTORY="+h.state, "NOTIFY_SOCKET="+filepath.Join(dir, "notify"),
		"FELHOM_AGENT_URL="+server.URL, "FELHOM_AGENT_FINGERPRINT="+hex.EncodeToString(sum[:]), "FELHOM_AGENT_TOKEN_ID="+h.sim.TokenID(),
		"FELHOM_AGENT_TOKEN_SECRET="+h.sim.TokenSecret(), "FELHOM_AGENT_RUNNER=none", "FELHOM_AGENT_LISTEN=unix:"+page)
	h.process.Env = append(h.process.Env, env...)
	if err := h.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { h.ended <- h.process.Wait() }()
	t.Cleanup(func() {
		h.process.Process.Kill()
		if t.Failed() {
			t.Logf("the agent said:\n%s\nand to the service manager:\n%s", h.out.String(), h.notes.String())
		}
	})
	return h
}

func (h *watchedHome) nodeAnswers(how http.Handler) { h.answer.Store(&how) }

// write puts a file into the folder as editors do: by rename.
func (h *watchedHome) write(name, text string) {
	h.t.Helper()
	temporary := filepath.Join(h.desired, "."+name+".new")
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(h.desired, name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *watchedHome) signal(number syscall.Signal) {
	h.t.Helper()
	if err := h.process.Process.Signal(number); err != nil {
		h.t.Fatal(err)
	}
}

// await waits for something that must come; five minutes are for slow machines.
func (h *watchedHome) await(what string, come func() bool) {
	h.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !come(); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-h.ended:
			h.ended <- err
			h.t.Fatalf("the agent ended (%v) while we waited for: %s", err, what)
		default:
		}
		if time.Now().After(end) {
			h.t.Fatalf("it did not come: %s", what)
		}
	}
}

func (h *watchedHome) says(text string) func() bool {
	return func() bool { return strings.Contains(h.out.String(), text) }
}

// told is how often the manager was told something.
func (h *watchedHome) told(line string) int { return strings.Count("\n"+h.notes.String(), "\n"+line) }

// memory waits until the guest has so much.
func (h *watchedHome) memory(mib int) {
	h.t.Helper()
	h.await(fmt.Sprintf("101 has %d MiB", mib), func() bool {
		_, config := h.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil)
		return strings.Contains(config, fmt.Sprintf(`"memory":%d`, mib)) || strings.Contains(config, fmt.Sprintf(`"memory":"%d"`, mib))
	})
}

func (h *watchedHome) get(path string) (int, string) {
	answer, err := h.client.Get("http://localhost" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

func (h *watchedHome) healthy() bool { code, _ := h.get("/healthz"); return code == http.StatusOK }
