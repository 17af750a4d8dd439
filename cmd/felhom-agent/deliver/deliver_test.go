package deliver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/deliver"
)

const token = "tk/0123 45678+9abc"

// serviceOf reads a service as the configuration does, with its token in a file.
func serviceOf(t *testing.T, text string) *config.Service {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	write(t, file, token)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "FILE", file)), &doc); err != nil {
		t.Fatal(err)
	}
	yaml, err := yaml.Marshal(&doc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Read("", []string{"FELHOM_AGENT_NOTIFY=" + string(yaml)}, true)
	if err != nil {
		t.Fatal(err)
	}
	all := c.Notify.Targets()
	if len(all) != 1 || all[0].Missing != nil {
		t.Fatalf("%d services, %v", len(all), all[0].Missing)
	}
	return all[0]
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

var message = deliver.Message{
	Event: "failed", Title: "pve1: restores/web failed", Text: "start: no disk – \"ü\"\nfix: connect it", Time: time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC),
	JSON: []byte(`{"format":1,"event":"failed","text":"no disk"}` + "\n"),
}

// Each service gets what its documentation asks for.
func TestServices(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var fields map[string]any
		if json.Unmarshal(body, &fields) == nil {
			delete(fields, "format")
			body, _ = json.Marshal(fields)
		}
		got = fmt.Sprintf("%s %s auth=%q gotify=%q type=%q %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("X-Gotify-Key"), r.Header.Get("Content-Type"), body)
	}))
	defer server.Close()
	text := `"message":"start: no disk – \"ü\"\nfix: connect it"`
	fail, log := message, message
	fail.Fail, log.Log = true, true
	for _, c := range []struct {
		service, want string
		message       deliver.Message
	}{
		{`{services: [{type: ntfy, url: "URL/house", token_file: FILE}]}`, `POST / auth="Bearer ` + token + `" gotify="" type="application/json" {` + text + `,"priority":4,"title":"pve1: restores/web failed","topic":"house"}`, message},
		{`{services: [{type: ntfy, url: "URL/house"}]}`, `POST / auth="" gotify="" type="application/json" {` + text + `,"priority":4,"title":"pve1: restores/web failed","topic":"house"}`, message},
		{`{services: [{type: gotify, url: "URL/push/", token_file: FILE}]}`, `POST /push/message auth="" gotify="` + token + `" type="application/json" {` + text + `,"priority":8,"title":"pve1: restores/web failed"}`, message},
		{`{services: [{type: webhook, url: "URL/hook?a=b", token_file: FILE}]}`, `POST /hook?a=b auth="Bearer ` + token + `" gotify="" type="application/json" {"event":"failed","text":"no disk"}`, message},
		{`{ping: {url_file: PING}}`, `POST /uuid auth="" gotify="" type="text/plain; charset=utf-8" ` + message.Text, message},
		{`{ping: {url_file: PING}}`, `POST /uuid/fail auth="" gotify="" type="text/plain; charset=utf-8" ` + message.Text, fail},
		{`{ping: {url_file: PING}}`, `POST /uuid/log auth="" gotify="" type="text/plain; charset=utf-8" ` + message.Text, log},
	} {
		file := filepath.Join(t.TempDir(), "ping")
		write(t, file, server.URL+"/uuid")
		s := serviceOf(t, strings.NewReplacer("URL", server.URL, "PING", file).Replace(c.service))
		if err := deliver.Send(t.Context(), s, c.message); err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.service, err, got, c.want)
		}
	}
}

// No answer of a server makes the agent wait for long, read much, go elsewhere or show a secret, not even one that the
// server sends back.
func TestHostileAnswers(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	const path = "secret-hook-0123456789"
	stop := make(chan struct{})
	answers := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path+"/"+token, http.StatusTemporaryRedirect)
		}, "307, a redirect to " + other.URL + ", which is not followed"},
		"permanently": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/"+path+"/"+token, http.StatusMovedPermanently)
		}, "301, a redirect to http://127.0.0.1"},
		"echo": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			fmt.Fprintf(w, "no %s %s\x1b[2J\nforged", r.Header.Get("Authorization"), r.RequestURI)
		}, "403 (is the token right, and may it write there?)"},
		"long": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			for {
				if _, err := w.Write([]byte(strings.Repeat(token, 1000))); err != nil {
					return
				}
			}
		}, "500"},
		"header": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Flood", strings.Repeat(token, 1<<16)) }, "header"},
		"no HTTP": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(conn, "%s\r\n\r\n", token)
			conn.Close()
		}, "malformed"},
		"silent": {func(w http.ResponseWriter, r *http.Request) { <-stop }, "context canceled"},
	}
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "silent" {
					cancel()
				}
				c.answer(w, r)
			}))
			defer server.Close()
			if name == "silent" {
				defer close(stop)
			}
			hook := filepath.Join(t.TempDir(), "hook")
			write(t, hook, server.URL+"/"+path)
			s := serviceOf(t, `{services: [{type: webhook, url_file: `+hook+`, token_file: FILE}]}`)
			err := deliver.Send(ctx, s, message)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			for _, hidden := range []string{token, path, "\x1b", "\n"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%q is shown: %q", hidden, err)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			if shown := fmt.Sprintf("%v %+v %#v", *s, *s, *s); strings.Contains(shown, token) || strings.Contains(shown, path) {
				t.Errorf("printed: %s", shown)
			}
		})
	}
	if elsewhere != 0 {
		t.Errorf("%d requests went to another host", elsewhere)
	}
}

// Where nobody listens the error says where, and nothing of the path.
func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	hook := filepath.Join(t.TempDir(), "hook")
	write(t, hook, server.URL+"/secret-hook-0123456789")
	s := serviceOf(t, `{services: [{type: webhook, url_file: `+hook+`}]}`)
	err := deliver.Send(t.Context(), s, message)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "secret-hook") {
		t.Errorf("%v", err)
	}
	s.Missing = errors.New("there is no secret")
	if err := deliver.Send(t.Context(), s, message); !errors.Is(err, s.Missing) {
		t.Errorf("%v", err)
	}
}
