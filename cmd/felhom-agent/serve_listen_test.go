package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

func TestParseListen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"127.0.0.1:8765":             config.ListenAddress{Network: "tcp", Address: "127.0.0.1:8765"},
		"[::1]:8765":                 config.ListenAddress{Network: "tcp", Address: "[::1]:8765"},
		"unix:/run/felhom-agent/web": config.ListenAddress{Network: "unix", Address: "/run/felhom-agent/web"},
		"unix:web":                   "begins with a slash",
		"0.0.0.0:8765":               "is reachable from other machines",
		"192.0.2.1:80":               "is reachable from other machines",
		":8765":                      "it is an address of this machine with a port",
		"127.0.0.1":                  "it is an address of this machine with a port",
		"node:8765":                  "it is an address of this machine with a port",
	} {
		have, err := config.ParseListen(text)
		if wrong, ok := want.(string); ok {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%s: %v, %v; want an error with %q", text, have, err, wrong)
			}
		} else if err != nil || have != want {
			t.Errorf("%s: %v, %v; want %v", text, have, err, want)
		}
	}
}

// TestStaleSocket: the socket of an agent that was killed is replaced, one that is in use is not, and a file
// that is no socket is left alone.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	at := config.ListenAddress{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
	first, err := at.Listen()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := first.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	if info, err := os.Stat(at.Address); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	if _, err := at.Listen(); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a socket in use was taken: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
	first.Close()
	second, err := at.Listen()
	if err != nil {
		t.Fatalf("the stale socket stays: %v", err)
	}
	second.Close()
	if err := os.WriteFile(at.Address, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := at.Listen(); err == nil {
		t.Error("a file was replaced by a socket")
	}
}
