package privileged

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A peer has so many requests in progress and no more; another peer has places of its own, and a place that is given back is free.
func TestPlacesOfPeers(t *testing.T) {
	dir := t.TempDir() + "/run"
	anna, root := Peer{UID: 4294967294}, Peer{}
	var done []func()
	for range MaxRequests {
		leave, err := anna.Enter(dir)
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, leave)
	}
	var refused *RefusedError
	if _, err := anna.Enter(dir); !errors.As(err, &refused) || !refused.Busy {
		t.Errorf("one more: %v", err)
	}
	if _, err := root.Enter(dir); err != nil {
		t.Errorf("another peer: %v", err)
	}
	done[7]()
	if _, err := anna.Enter(dir); err != nil {
		t.Errorf("after one left: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// A connection that says nothing, or a byte from time to time, comes to an end; one that speaks is heard to its end.
func TestPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			pause time.Duration
			parts int
			ends  time.Duration // by itself
		}{
			"silent":   {time.Hour, 1, maxSilence},
			"dripping": {time.Second, 1000, maxReceive},
			"slow":     {time.Second, 5, 0},
			"at once":  {0, 3, 0},
		} {
			in, peer := io.Pipe()
			go func() {
				for range c.parts {
					time.Sleep(c.pause)
					if _, err := peer.Write([]byte(strings.Repeat("x", 40<<10))); err != nil {
						return
					}
				}
				peer.Close()
			}()
			began := time.Now()
			data, err := io.ReadAll(Patient(in))
			if took := time.Since(began); (err == nil) != (c.ends == 0) || err != nil && took != c.ends {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			if err == nil && len(data) != c.parts*40<<10 {
				t.Errorf("%s: %d bytes", name, len(data))
			}
			in.Close()
			time.Sleep(2 * time.Hour) // until the sender has noticed
		}
	})
}

// Who does not read is waited for once; who reads is told everything.
func TestUnhurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := io.Pipe()
		out, began := Unhurried(to), time.Now()
		for range 5 {
			if n, err := out.Write([]byte("line\n")); n != 5 || err != nil {
				t.Errorf("%d %v", n, err)
			}
		}
		if took := time.Since(began); took != maxUnread {
			t.Errorf("it took %s", took)
		}
		from.Close()
		var heard bytes.Buffer
		out = Unhurried(&heard)
		out.Write([]byte("a"))
		out.Write([]byte("b"))
		if heard.String() != "ab" {
			t.Errorf("%q", heard.String())
		}
	})
}
