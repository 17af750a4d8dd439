package proxmox

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A read is repeated when a connection broke, its own or one within the node; not when
// something has hung for half a minute, and never a write.
func TestOnlyBrokenReadsAreRepeated(t *testing.T) {
	const broken = `{"data":null,"message":"failed to read from command socket: Connection reset by peer\n"}`
	for name, c := range map[string]struct {
		status, body string
		takes        time.Duration
		write        bool
		sent         int
	}{
		"broken within the node": {"500 failed to read", broken, 0, false, 3},
		"596 at once":            {"596 Broken pipe", "", 0, false, 3},
		"596 after 30 s":         {"596 Connection timed out", "", 30 * time.Second, false, 1},
		"a refusal":              {"500 no such thing", `{"data":null,"message":"no such thing\n"}`, 0, false, 1},
		"a write":                {"500 failed to read", broken, 0, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				client := testClient(t, fake(func(*http.Request) (*http.Response, error) {
					n++
					time.Sleep(c.takes)
					if n < 3 {
						return response(c.status, c.body), nil
					}
					return response("200 OK", `{"data":[]}`), nil
				}))
				var err error
				if c.write {
					_, err = client.Start(t.Context(), "pve1", 100)
				} else {
					_, err = client.ListLXC(t.Context(), "pve1")
				}
				if n != c.sent || (err == nil) != (n == 3) {
					t.Errorf("sent %d times, want %d: %v", n, c.sent, err)
				}
			})
		})
	}
}
