package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// TestServiceManager: READY, STATUS, RELOADING and its end, WATCHDOG, STOPPING, and a quick end that cancels
// nothing.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	h := newWatchedHome(t, "WATCHDOG_USEC=600000")
	h.await("READY", func() bool { return h.told("READY=1") == 1 })
	h.await("the status line", func() bool { return h.told("STATUS=converged 1 of 1, next refresh at ") > 0 })
	h.memory(512)
	h.await("the watchdog", func() bool { return h.told("WATCHDOG=1") > 2 })

	before := h.out.String()
	h.signal(syscall.SIGHUP)
	h.await("the reload has begun", func() bool { return h.told("RELOADING=1\nMONOTONIC_USEC=") == 1 })
	h.await("the reload has ended", func() bool { return h.told("READY=1") == 2 })
	if now := h.out.String(); now != before {
		t.Errorf("a look that found nothing said: %s", now[len(before):])
	}

	h.write("home.yaml", "guests: {dns: {vmid: many}}\n")
	h.await("the broken edit in the status", func() bool {
		return h.told("STATUS=converged 1 of 1, an edit is not valid and was ignored: ") > 0
	})
	h.write("home.yaml", fmt.Sprintf(oneGuest, 640))
	h.memory(640)

	// A task that never ends does not keep the agent from ending, and goes on.
	if err := h.sim.Inject(pvesim.Fault{Match: "task vzdump", Effect: "hang", Times: -1}); err != nil {
		t.Fatal(err)
	}
	h.write("backup.yaml", "backups: {daily: {guests: [dns], storage: local, every: 24h, keep: 2}}\n")
	h.await("a backup runs", h.says("back up      started"))
	begin := time.Now()
	h.signal(syscall.SIGTERM)
	if err := <-h.ended; err != nil {
		t.Fatalf("SIGTERM is the normal end of --watch, but it ended with %v", err)
	}
	t.Logf("ended %s after SIGTERM", time.Since(begin).Round(time.Millisecond))
	if h.told("STOPPING=1") != 1 {
		t.Error("the service manager was not told of the end")
	}
	if _, tasks := h.sim.Do("root@pam", "GET", "/nodes/pve1/tasks?source=active", nil); !strings.Contains(tasks, "vzdump") {
		t.Errorf("the backup should go on; active tasks: %s", tasks)
	}
}

// TestBeginsBroken: with a mistake in the YAML from the start the service is up, says what it waits for, and
// begins when it is corrected.
func TestBeginsBroken(t *testing.T) {
	t.Parallel()
	h := newWatchedHomeOf(t, "guests: {dns: {vmid: many}}\n", "WATCHDOG_USEC=600000")
	h.await("READY", func() bool { return h.told("READY=1") == 1 })
	h.await("the mistake in the status", func() bool {
		return h.told("STATUS=waiting for a valid desired state: home.yaml:1: guests.dns.vmid: ") > 0
	})
	h.await("the watchdog", func() bool { return h.told("WATCHDOG=1") > 2 })
	h.signal(syscall.SIGHUP)
	h.await("the end of the reload", func() bool { return h.told("READY=1") == 2 })
	h.await("sick", func() bool { code, _ := h.get("/healthz"); return code == http.StatusServiceUnavailable })
	if _, metrics := h.get("/metrics"); count(metrics, "felhom_desired_errors") != 1 {
		t.Error("the metrics do not show the mistake")
	}
	h.write("home.yaml", fmt.Sprintf(oneGuest, 640))
	h.memory(640)
	h.await("healthy", h.healthy)
}

// TestTroubles: whatever happens to the files, the disk or the node, the agent stays, says once what is wrong,
// and goes on by itself.
func TestTroubles(t *testing.T) {
	t.Parallel()
	broken := func(code int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, code) })
	}
	hangUp := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	home := func(h *watchedHome) string { return filepath.Join(h.desired, "home.yaml") }
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, trouble := range []struct {
		name    string
		begin   func(*testing.T, *watchedHome)
		message string // what is said, once
		sick    bool   // /healthz says so
		deaf    bool   // it asks again only after five minutes, so only the beginning is seen here
		end     func(*testing.T, *watchedHome)
	}{
		{name: "the folder disappears",
			begin:   func(t *testing.T, h *watchedHome) { must(t, os.Rename(h.desired, h.desired+".away")) },
			message: "does not exist. Create a folder there",
			end:     func(t *testing.T, h *watchedHome) { must(t, os.Rename(h.desired+".away", h.desired)) }},
		{name: "a file becomes a directory",
			begin: func(t *testing.T, h *watchedHome) {
				must(t, os.Remove(home(h)))
				must(t, os.MkdirAll(filepath.Join(home(h), "x"), 0o755))
			},
			message: "The last valid state stays in force.",
			end:     func(t *testing.T, h *watchedHome) { must(t, os.RemoveAll(home(h))) }},
		{name: "a file that cannot be read",
			begin: func(t *testing.T, h *watchedHome) {
				must(t, os.Symlink("/proc/self/mem", filepath.Join(h.desired, "unreadable.yaml")))
			},
			message: "unreadable.yaml: is a link that leaves the folder",
			end: func(t *testing.T, h *watchedHome) {
				must(t, os.Remove(filepath.Join(h.desired, "unreadable.yaml")))
			}},
		{name: "ten thousand events",
			begin: func(t *testing.T, h *watchedHome) {
				for i := range 5000 { // each a create and a rename
					h.write("home.yaml", fmt.Sprintf(oneGuest+"# %d\n", 512, i))
				}
			}},
		{name: "the token expires",
			begin:   func(_ *testing.T, h *watchedHome) { h.nodeAnswers(broken(401, "authentication failure")) },
			message: "PVE does not accept the token", sick: true, deaf: true},
		{name: "the node restarts",
			begin:   func(_ *testing.T, h *watchedHome) { h.nodeAnswers(hangUp) },
			message: "felhom-agent: ", sick: true,
			end: func(_ *testing.T, h *watchedHome) { h.nodeAnswers(h.sim) }},
		{name: "the disk under the journal is full",
			begin: func(t *testing.T, h *watchedHome) { // /dev/full answers every write as a full disk does
				journal := filepath.Join(h.state, "journal.jsonl")
				must(t, os.Rename(journal, journal+".kept"))
				must(t, os.Symlink("/dev/full", journal))
				h.write("home.yaml", fmt.Sprintf(oneGuest, 576))
			},
			message: "no space left on device", sick: true,
			end: func(t *testing.T, h *watchedHome) {
				journal := filepath.Join(h.state, "journal.jsonl")
				must(t, os.Rename(journal+".kept", journal))
			}},
		{name: "the node's clock jumps ahead",
			begin: func(_ *testing.T, h *watchedHome) { h.sim.Advance(30 * time.Hour) }},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			h := newWatchedHome(t)
			h.await("converged", h.healthy)
			before := h.out.String()
			trouble.begin(t, h)
			if trouble.sick {
				h.signal(syscall.SIGHUP) // nothing else makes it look within the interval
			}
			if trouble.message != "" {
				h.await(trouble.message, func() bool { return strings.Contains(h.out.String()[len(before):], trouble.message) })
			}
			if trouble.sick {
				h.await("sick", func() bool { return !h.healthy() })
			}
			passes := func() (n int) { _, text := h.get("/metrics"); return count(text, "felhom_passes_total{") }
			for range 5 { // five more passes, none of which repeats it
				seen, ready := passes(), h.told("READY=1")
				h.signal(syscall.SIGHUP)
				h.await("another pass", func() bool { return passes() > seen || trouble.deaf })
				h.await("the end of the reload", func() bool { return h.told("READY=1") > ready })
			}
			if n := strings.Count(h.out.String()[len(before):], trouble.message); trouble.message != "" && n != 1 {
				t.Errorf("%q was said %d times, not once", trouble.message, n)
			}
			if trouble.end != nil {
				trouble.end(t, h)
			}
			if trouble.deaf {
				h.await("when it asks again, in the status", func() bool {
					status, err := os.ReadFile(filepath.Join(h.state, "status.json"))
					return err == nil && strings.Contains(string(status), "Nothing was changed; next try ")
				})
				return
			}
			h.write("home.yaml", fmt.Sprintf(oneGuest, 768))
			h.signal(syscall.SIGHUP) // in place of a few minutes
			h.memory(768)
			h.await("healthy again", h.healthy)
		})
	}
}

// TestPortTaken: another program has the address. The agent converges all the same, and shows its page when the
// address is free.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newWatchedHome(t, "FELHOM_AGENT_LISTEN="+other.Addr().String())
	h.await("the message", h.says("address already in use"))
	h.memory(512)
	other.Close()
	h.await("the page", func() bool {
		answer, err := http.Get("http://" + other.Addr().String() + "/healthz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if n := strings.Count(h.out.String(), "address already in use"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
}

// count adds up the values of the metrics whose lines begin so.
func count(metrics, prefix string) (n int) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, prefix) {
			var value float64
			fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:], &value)
			n += int(value)
		}
	}
	return n
}
