package reconcile

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// begun are the times at which acts of a verb were begun, as distances in seconds.
func (b *bench) begun(verb string) (gaps []int) {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	var last time.Time
	for _, a := range b.journal.order {
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

// serve lets the bench's agent watch while something is done.
func (b *bench) serve(load func() *spec.Desired, do func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.agent.Watch(ctx, 15*time.Minute, load, func(*Plan, time.Duration, error) {})
	}()
	do()
	cancel()
	<-done
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
		b.serve(want.Load, func() {
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
		})
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
				b := refusing(t, func(method, path string) (int, string) {
					if method == "POST" && strings.HasSuffix(path, "/status/start") {
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
				b.serve(func() *spec.Desired { return running }, func() {
					time.Sleep(12 * time.Hour)
					if sent != 1 {
						t.Errorf("it was sent %d times", sent)
					}
					b.as("PUT", "/access/acl", "path=/vms/101", "roles=FelhomAgent", "tokens="+b.sim.TokenID())
					time.Sleep(20 * time.Minute)
				})
				if sent != 2 {
					t.Errorf("after the rights had changed it was sent %d times\n%s", sent, b.events)
				}
				if text := b.events.String(); fault != "" {
					for _, want := range []string{"missing              VM.PowerMgmt on /vms/101 for felhom@pve!agent", "pveum ", "not tried again before the YAML, the rights or the guest change", "dns is now           STOPPED"} {
						if !strings.Contains(text, want) {
							t.Errorf("it does not say %q:\n%s", want, text)
						}
					}
				}
			})
		})
	}
}

// refusing is a bench whose node answers some requests by itself: those for which answer
// returns a status.
func refusing(t *testing.T, answer func(method, path string) (status int, body string)) *bench {
	sim := pvesim.New()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Token: token, Transport: transport(func(req *http.Request) (*http.Response, error) {
		status, body := answer(req.Method, req.URL.Path)
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
