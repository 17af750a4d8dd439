package main

import (
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// TestBrowser opens the page in Debian's chromium: it shows what it shall, updates itself by its own script
// under its own policy, asks nobody but us, fits on a phone, and has a dark mode. The screenshots are kept in
// $FELHOM_ARTIFACTS (else in the temporary directory).
func TestBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here: apt-get install chromium")
	}
	artifacts := os.Getenv("FELHOM_ARTIFACTS")
	if artifacts == "" {
		artifacts = filepath.Join(os.TempDir(), "felhom-artifacts")
	}
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	o := observed(t, "../../examples/desired")
	dns := spec.Ref{Kind: spec.KindGuest, Name: "dns"}
	o.Plan.Blocked = append(o.Plan.Blocked, reconcile.Blocked{Object: dns, Reason: "101 is locked (backup) by root@pam since 02:31", Fix: []string{"wait for its end"}})
	runs := busy(t, o)
	runs(spec.Ref{Kind: spec.KindBackup, Name: "nightly"}, "back up", "INFO: 61% (122.0 GiB of 200.0 GiB)", 31*time.Minute+30*time.Second)

	var pages atomic.Int32
	var elsewhere atomic.Pointer[string]
	handler := o.Handler(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			elsewhere.Store(&r.URL.Path)
		}
		if pages.Add(1) == 3 { // what happens while somebody looks
			runs(dns, "start", "a task that began later", 0)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()

	browse := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, chromium, append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(), "--virtual-time-budget=10000", "--enable-logging=stderr",
		}, append(args, server.URL+"/")...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("chromium: %v\n%s", err, stderr.String())
		}
		for line := range strings.Lines(stderr.String()) {
			if strings.Contains(line, "CONSOLE") {
				t.Errorf("the page complains: %s", line)
			}
		}
		return string(out)
	}

	dom := browse("--dump-dom")
	for _, text := range []string{"restores/nextcloud", "converged 12 of 13", "101 is locked (backup)", "wait for its end", "back up, 31 min", "61% (122.0 GiB", "Simulated SSD"} {
		if !strings.Contains(dom, text) {
			t.Errorf("the browser does not show %q", text)
		}
	}
	if !strings.Contains(dom, "a task that began later") {
		t.Errorf("the page did not update itself (%d times fetched)", pages.Load())
	}
	if path := elsewhere.Load(); path != nil {
		t.Errorf("the page fetches %s", *path)
	}

	seen := map[string]string{}
	for name, args := range map[string][]string{
		"desktop": {"--window-size=1280,1600"},
		"phone":   {"--window-size=500,1600"},
		"dark":    {"--window-size=1280,1600", "--force-dark-mode", "--blink-settings=preferredColorScheme=0"},
	} {
		file := filepath.Join(artifacts, "page-"+name+".png")
		browse(append(args, "--screenshot="+file)...)
		seen[name] = background(t, file)
		t.Logf("%s: %s, background %s", name, file, seen[name])
	}
	if light := regexp.MustCompile(`^f[cdf]f[cdf]f[def]$`); !light.MatchString(seen["desktop"]) || !light.MatchString(seen["phone"]) {
		t.Errorf("the page is not light: %v", seen)
	}
	if seen["dark"] != "111113" {
		t.Errorf("in dark mode the page's background is %s", seen["dark"])
	}
}

// background is the colour of a screenshot's corner.
func background(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := picture.At(2, 2).RGBA()
	return fmt.Sprintf("%02x%02x%02x", r>>8, g>>8, b>>8)
}
