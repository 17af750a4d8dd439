package systemd

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The drop-in that --print-setup --notify prints opens its addresses and no other; what nothing answers to is explained
// where the unit has the filter, and nowhere else.
func TestAllows(t *testing.T) {
	dir := t.TempDir()
	late := context.DeadlineExceeded
	if err := shutBy(late, dir); err != late || !Allows(dir, netip.MustParseAddr("203.0.113.7")) {
		t.Errorf("without a unit: %v", err)
	}
	for path, text := range map[string]string{
		"usr/lib/systemd/system/felhom-agent.service":           "[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n",
		"etc/systemd/system/felhom-agent.service.d/notify.conf": "[Service]\n# ntfy: ntfy.example.org\nIPAddressAllow=203.0.113.7\nIPAddressAllow=2001:db8::/32\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string]bool{"203.0.113.7": true, "::ffff:203.0.113.7": true, "203.0.113.8": false, "2001:db8::9": true, "2001:db9::9": false, "127.0.0.53": true, "::1": true} {
		if Allows(dir, netip.MustParseAddr(address)) != want {
			t.Errorf("%s: %t", address, !want)
		}
	}
	if err := shutBy(late, dir); !errors.Is(err, late) || !strings.Contains(err.Error(), "fix: felhom-agent --print-setup --notify") {
		t.Errorf("%v", err)
	}
	other := errors.New("it answers 403")
	if err := shutBy(other, dir); err != other {
		t.Errorf("%v", err)
	}
}
