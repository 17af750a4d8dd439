package reconcile

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// begun are the times at which operations of a verb were begun, as distances in seconds.
func (b *bench) begun(verb string) (gaps []int) {
	b.journal.Mu.Lock()
	defer b.journal.Mu.Unlock()
	var last time.Time
	for _, a := range b.journal.Order {
		if a.Verb != verb {
			continue
		}
		if !last.IsZero() {
			gaps = append(gaps, int(a.Time.Sub(last).Seconds()))
		}
		last = a.Time
	}
	return gaps
}

// What fails is tried again after 30 s, then after twice as long each time, up to a
// quarter of an hour; and at once when its YAML has changed.
func TestAFailureCoolsDown(t *testing.T) {
	stopped, running := desired(t, "guests: {dns: {vmid: 101, state: stopped}}\n"), desired(t, "guests: {dns: {vmid: 101, state: running}}\n")
	edited := desired(t, "guests: {dns: {vmid: 101, state: running, config: {cores: 2}}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(stopped)
		b.fail("task vzstart 101")
		var want atomic.Pointer[spec.Desired]
		want.Store(running)
		stop := b.watch(15*time.Minute, want.Load, nil)
		time.Sleep(time.Hour)
		gaps := b.begun("start")
		for i, least := range []int{30, 60, 120, 240, 480, 900} { // and what the task itself takes, and a poll
			if len(gaps) <= i || gaps[i] < least || gaps[i] > least+20 {
				t.Fatalf("it was tried again after %v s, not %d", gaps, least)
			}
		}
		n := len(gaps)
		want.Store(edited)
		b.agent.Nudge()
		time.Sleep(5 * time.Second)
		if gaps = b.begun("start"); len(gaps) != n+1 {
			t.Errorf("after the edit it was not tried at once: %v", gaps)
		}
		time.Sleep(10 * time.Minute)
		if gaps = b.begun("start")[n+1:]; len(gaps) < 3 || gaps[0] > 50 {
			t.Errorf("after the edit it does not begin anew with 30 s: %v", gaps)
		}
		stop()
	})
}

// What PVE forbids is sent once, and again when the token may do it.
func TestWhatIsForbiddenIsSentOnce(t *testing.T) {
	stopped, running := desired(t, "guests: {dns: {vmid: 101, state: stopped}}\n"), desired(t, "guests: {dns: {vmid: 101, state: running}}\n")
	for name, fault := range map[string]string{
		"403": "Permission check failed (/vms/101, VM.PowerMgmt)",
		"400": "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				b := answering(t, func(req *http.Request) (int, string) {
					if req.Method == "POST" && strings.HasSuffix(req.URL.Path, "/status/start") {
						if sent++; sent == 1 || fault == "" {
							if fault == "" {
								return 400, `{"data":null,"errors":{"timeout":"value must have a minimum value of 0"}}`
							}
							return 403, fmt.Sprintf(`{"data":null,"message":%q}`, fault+"\n")
						}
					}
					return 0, ""
				})
				b.once(stopped)
				stop := b.watch(15*time.Minute, always(running), nil)
				time.Sleep(12 * time.Hour)
				if sent != 1 {
					t.Errorf("it was sent %d times", sent)
				}
				b.as("PUT", "/access/acl", "path=/vms/101", "roles=FelhomAgent", "tokens="+b.sim.TokenID())
				time.Sleep(20 * time.Minute)
				stop()
				if sent != 2 {
					t.Errorf("after the rights had changed it was sent %d times\n%s", sent, b.events)
				}
				if text := b.events.String(); fault != "" {
					for _, want := range []string{"missing              VM.PowerMgmt on /vms/101 for felhom@pve!agent", "pveum ", "not tried again before the YAML, the permissions or the guest change", "dns is now           STOPPED"} {
						if !strings.Contains(text, want) {
							t.Errorf("it does not say %q:\n%s", want, text)
						}
					}
				}
			})
		})
	}
}

// answering is a bench whose requests are answered in place of the node where answer
// returns a status.
func answering(t *testing.T, answer func(*http.Request) (status int, body string)) *bench {
	sim := pvesim.New()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Token: token, Transport: transport(func(req *http.Request) (*http.Response, error) {
		status, body := answer(req)
		if status == 0 {
			return sim.RoundTrip(req)
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Body: io.NopCloser(strings.NewReader(body))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, sim, func(o *Options) { o.Client = client })
}

// The journal keeps the last 40 lines of the log of a task that failed, and the history of
// its object tells them, below the task and why it failed.
func TestTheHistoryTellsTheEndOfALog(t *testing.T) {
	want := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := answering(t, func(req *http.Request) (int, string) {
			if !strings.HasSuffix(req.URL.Path, "/log") {
				return 0, ""
			}
			start, _ := strconv.Atoi(req.URL.Query().Get("start"))
			limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
			var lines []string
			for n := start + 1; n <= min(start+limit, 100); n++ {
				lines = append(lines, fmt.Sprintf(`{"n":%d,"t":"line %d"}`, n, n))
			}
			return 200, fmt.Sprintf(`{"data":[%s],"total":100}`, strings.Join(lines, ","))
		})
		b.fail("task vzsnapshot 101")
		b.once(want)
		var text strings.Builder
		must(t, b.journal.WriteText(&text, HistoryFilter{Objects: []string{"snapshots/before"}}, false))
		told := regexp.MustCompile(`snapshots/before +snapshot +FAILED .*exit code 1\n +UPID:pve1:\w+:\w+:\w+:vzsnapshot:101:felhom@pve!agent:\n( +\| line \d+\n){40}$`)
		if !told.MatchString(text.String()) || !strings.Contains(text.String(), "| line 61\n") || !strings.HasSuffix(text.String(), "| line 100\n") {
			t.Errorf("it tells\n%s", &text)
		}
	})
}
