package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What restore tests have found out stands on the page, in the status and in the metrics: a good one, and a failed one.
func TestRestoreTestsAreShown(t *testing.T) {
	t.Parallel()
	const backedUp = "guests:\n  dns: {vmid: 101}\nbackups:\n  daily: {guests: all, storage: local, every: 24h}\n"
	for probe, want := range map[string]map[string][]string{
		"[{systemd: running}]": {
			"/": {`(?s)<h2>Restore tests</h2>.*dns.*works`}, "/status": {`(?s)"restore_tests": *\{\s*"dns": *\{.*"verdict": *"works"`},
			"/metrics": {`felhom_restore_test_verdict\{guest="dns",verdict="works"\} 1\n`, `felhom_restore_test_last_success_timestamp_seconds\{guest="dns"\} 1\.7\d+e\+09\n`,
				`felhom_restore_test_duration_seconds\{guest="dns"\} [1-9]`, `felhom_restore_test_archive_age_seconds\{guest="dns"\} \d`},
		},
		"[{unit: nginx}]": {
			"/": {`(?s)<h2>Restore tests</h2>.*dns.*fails.*unit nginx\.service: inactive`}, "/status": {`"verdict": *"fails"`},
			"/metrics": {`felhom_restore_test_verdict\{guest="dns",verdict="fails"\} 1\n`, `felhom_restore_test_last_success_timestamp_seconds\{guest="dns"\} 0\n`, `felhom_objects\{state="failed"\} 1\n`},
		},
	} {
		file := filepath.Join(t.TempDir(), "desired.yaml")
		if err := os.WriteFile(file, []byte(backedUp+"tests:\n  weekly: {guests: all, storage: local-lvm, vmids: 9900-9909, every: 7d, keep-awake: 1s, probe: "+probe+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(observed(t, file).Handler(true))
		for path, patterns := range want {
			answer, err := http.Get(server.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			for _, pattern := range patterns {
				if !regexp.MustCompile(pattern).Match(text) {
					t.Errorf("probe %s: %s has no %s:\n%s", probe, path, pattern, text)
				}
			}
		}
		server.Close()
	}
}
