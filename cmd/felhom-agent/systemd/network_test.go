package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A filter that drops in silence, as IPAddressDeny does, and one that refuses are told from none.
func TestDropped(t *testing.T) {
	for name, c := range map[string]struct {
		dial func(network, address string, timeout time.Duration) (net.Conn, error)
		want bool
	}{
		"none":    {net.DialTimeout, false},
		"drops":   {func(string, string, time.Duration) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }, true},
		"refuses": {func(string, string, time.Duration) (net.Conn, error) { return nil, syscall.EPERM }, true},
		"reset":   {func(string, string, time.Duration) (net.Conn, error) { return nil, syscall.ECONNREFUSED }, false},
	} {
		if got := dropped("127.0.0.1", c.dial); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if LoopbackOnly() && os.Getenv("INVOCATION_ID") == "" {
		t.Error("nothing filters the network of this test")
	}
}

func TestFiltered(t *testing.T) {
	late := fmt.Errorf("GET /nodes: no answer within 40s: %w; check the address and that PVE runs", context.DeadlineExceeded)
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EPERM)}
	yes, no := func() bool { return true }, func() bool { return false }
	for name, c := range map[string]struct {
		err      error
		to       string
		filtered func() bool
		want     bool
	}{
		"late, filtered":       {late, "https://192.0.2.7:8006", yes, true},
		"late, by name":        {late, "https://pve1.example.org:8006", yes, true},
		"late, not filtered":   {late, "https://192.0.2.7:8006", no, false},
		"late on loopback":     {late, "https://127.0.0.1:8006", yes, false},
		"late on loopback, v6": {late, "https://[::1]:8006", yes, false},
		"refused":              {refused, "https://192.0.2.7:8006", no, true},
		"refused on localhost": {refused, "https://localhost:8006", yes, false},
		"another error":        {io.EOF, "https://192.0.2.7:8006", yes, false},
	} {
		got := filteredBy(c.err, c.to, c.filtered)
		if !errors.Is(got, c.err) || c.want != (got != c.err) {
			t.Errorf("%s: %v", name, got)
			continue
		}
		if c.want && (!strings.HasPrefix(got.Error(), "the service's unit drops what is sent to ") || !strings.Contains(got.Error(), "remote.conf") || !strings.Contains(got.Error(), "fix: ")) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The unit as it is installed has the filter; its drop-ins open it.
func TestFilters(t *testing.T) {
	dir := t.TempDir()
	if Filters(dir) {
		t.Error("no unit is installed")
	}
	put := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("../packaging", from))
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("felhom-agent.service", "usr/lib/systemd/system/felhom-agent.service")
	put("pmxcfs.conf", "etc/systemd/system/felhom-agent.service.d/pmxcfs.conf")
	if !Filters(dir) {
		t.Error("the packaged unit has the filter")
	}
	for _, opens := range []string{"remote.conf", "network.conf"} {
		put(opens, "etc/systemd/system/felhom-agent.service.d/"+opens)
		if Filters(dir) {
			t.Errorf("%s opens it", opens)
		}
		if err := os.Remove(filepath.Join(dir, "etc/systemd/system/felhom-agent.service.d", opens)); err != nil {
			t.Fatal(err)
		}
	}
}
