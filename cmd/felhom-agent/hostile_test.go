package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSecretAndControls: the token's secret, control characters and forged lines come in by every way that there is:
// the YAML, links in its folder, PVE's answers, what the notify command prints, the configuration and the command
// line. None of it goes out by any: log, page, status, metrics, history, what the service manager and the notify command
// are told, and what is kept in the state directory.
func TestSecretAndControls(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tell := filepath.Join(t.TempDir(), "tell")
	heard := tell + ".heard"
	hook, hidden := hostileHook(t)
	h := newWatchedHome(t, "FELHOM_AGENT_NOTIFY={command: "+tell+", pass: on, services: ["+hook+"]}")
	secret := h.sim.TokenSecret()
	const controls = "\x1b]0;owned\a\u009b2J\u202e\r\nforged line \x1b[2J"
	must(t, os.WriteFile(tell, []byte("#!/bin/sh\ncat >> "+heard+"\nprintf '%s \\033[2J\\nforged line' '"+secret+"' >&2\nexit 1\n"), 0o755))
	h.await("converged", h.healthy)
	outside := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(outside, []byte(secret+"\n"), 0o600))

	// The YAML.
	for name, text := range map[string]string{
		"scalar.yaml": secret, "token.yaml": "felhom@pve!agent=" + secret, "anchor.yaml": "*" + secret, "vmid.yaml": "guests: {web: {vmid: " + secret + "}}",
		"name.yaml": "guests: {" + secret + ": {vmid: 111}}", "text.yaml": "guests: {web: {vmid: 111, state: \"a\\e[2J\\nforged line\"}}",
	} {
		h.write(name, text)
		h.await(name, h.says(name+":"))
		must(t, os.Remove(filepath.Join(h.desired, name)))
	}
	must(t, os.Symlink(outside, filepath.Join(h.desired, "link.yaml")))
	h.await("the link", h.says("link.yaml: is a link that leaves the folder"))
	must(t, os.Remove(filepath.Join(h.desired, "link.yaml")))
	h.await("healthy again", h.healthy)

	// PVE, or what calls itself so.
	message, err := json.Marshal(map[string]any{"data": nil, "message": "no " + secret + controls + "\n"})
	must(t, err)
	h.nodeAnswers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		w.Write(message)
	}))
	h.signal(syscall.SIGHUP)
	h.await("the refusal", func() bool { return !h.healthy() })

	h.await("the refusal of the web hook", h.says("the notify service webhook failed"))

	outputs := map[string]string{"the log": h.out.String(), "the service manager": h.notes.String()}
	for _, path := range []string{"/", "/status", "/metrics", "/healthz"} {
		_, outputs[path] = h.get(path)
	}
	for _, file := range []string{"status.json", "told.json", "journal.jsonl", "state.json"} {
		text, _ := os.ReadFile(filepath.Join(h.state, file))
		outputs[file] = string(text)
	}
	told, _ := os.ReadFile(heard)
	outputs["the notify command"] = string(told)
	for _, args := range [][]string{{"--status"}, {"--status", "-o", "json"}, {"--history"}, {"--check", outside}, {"--check", h.desired}, {"--plan", "--only", secret}, {"--plan", h.desired}, {"--selftest"}, {"--selftest=notify"}, {"--print-setup", "--notify"}} {
		cmd := exec.Command("felhom-agent", args...)
		cmd.Env = h.process.Env
		text, _ := cmd.CombinedOutput()
		outputs[strings.Join(args, " ")] = string(text)
	}
	for _, variable := range []string{"TOKEN_ID", "URL", "FINGERPRINT", "NODE", "INTERVAL", "LISTEN", "DRIFT", "LOG_LEVEL", "RUNNER", "NOTIFY", "UNKNOWN"} {
		cmd := exec.Command("felhom-agent", "--selftest")
		cmd.Env = append(append([]string{}, h.process.Env...), "FELHOM_AGENT_"+variable+"=felhom@pve!agent="+secret)
		text, _ := cmd.CombinedOutput()
		outputs[variable] = string(text)
	}
	if len(told) == 0 || !strings.Contains(outputs["the log"], "the notify command failed") || !strings.Contains(outputs["/"], "********") {
		t.Errorf("not everything was fed: %q", outputs["/"])
	}
	for name, text := range outputs {
		for _, secret := range append(hidden, secret) {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in %s:\n%s", name, text)
			}
		}
		if i := strings.IndexAny(text, "\x1b\x07\r\u009b\u202e"); i >= 0 {
			t.Errorf("a control character is in %s: %q", name, text[max(i-200, 0):min(i+50, len(text))])
		}
		if strings.Contains(text, "\nforged line") {
			t.Errorf("a forged line is in %s:\n%s", name, text)
		}
	}
}

// hostileHook is a web hook that says all its secrets again, with what a terminal obeys.
func hostileHook(t *testing.T) (service string, secrets []string) {
	t.Helper()
	dir := t.TempDir()
	secrets = []string{"hook-0123456789", "token-9876543210"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no %s http://%s%s \x1b[2J\nforged line", r.Header.Get("Authorization"), r.Host, r.RequestURI)
	}))
	t.Cleanup(server.Close)
	for name, text := range map[string]string{"hook": server.URL + "/" + secrets[0], "hook-token": secrets[1]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "{type: webhook, url_file: " + dir + "/hook, token_file: " + dir + "/hook-token}", secrets
}
