package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

// TestServicesConfig: each mistake in a service is said with its fix, and no value of it is shown.
func TestServicesConfig(t *testing.T) {
	const secret = "hush0123456789"
	for text, want := range map[string]string{
		`{type: ntfy, url: "https://ntfy.example.org/house"}`:                                                             "",
		`{type: webhook, name: chat, url_file: /etc/felhom-agent/hook}`:                                                   "",
		`{type: gotify, url: "https://g.example.org", token_file: /f}`:                                                    "",
		`{type: smtp, server: "127.0.0.1:25", from: a@example.org, to: b@example.org}`:                                    "",
		`{type: smtp, server: "m.example.org:465", from: a@example.org, to: [b@example.org], user: u, password_file: /f}`: "",
		`{type: ntfy, url: "http://192.168.1.2/house", token_file: /f, allow_http: on}`:                                   "",
		`{type: ntfy, url: "http://127.0.0.1/house", token_file: /f}`:                                                     "",
		`{url: "https://x"}`: "services: type is missing: ntfy, gotify, webhook or smtp",
		`{type: telegram}`:   "services: type: it is one of ntfy, gotify, webhook, smtp",
		`{type: ntfy, url: "https://x/y", token: ` + secret + `}`:                                     "services: ntfy: unknown key token: a secret is read from a file: token_file",
		`{type: smtp, password: ` + secret + `}`:                                                      "services: smtp: unknown key password: a secret is read from a file: password_file",
		`{type: ntfy}`:                                                                                "services: ntfy: url or url_file is missing",
		`{type: ntfy, url: "https://ntfy.example.org/"}`:                                              "services: ntfy: the topic is missing: https://ntfy.example.org/TOPIC",
		`{type: gotify, url: "https://g.example.org"}`:                                                "services: gotify: token_file is missing: the file with the token of the application",
		`{type: webhook, url: "ftp://` + secret + `"}`:                                                "services: webhook: expected a URL, for example https://ntfy.example.org/house",
		`{type: webhook, url: "https://me:` + secret + `@x/"}`:                                        "services: webhook: it has a user or password in it: put the token into a file, with token_file",
		`{type: gotify, url: "https://x/?token=` + secret + `", token_file: /f}`:                      "services: gotify: it has a query (?...): a token belongs into a file, with token_file",
		`{type: ntfy, url: "http://n.example.org/` + secret + `", token_file: /f}`:                    "services: ntfy: http sends the secret readably to n.example.org: use https, or set allow_http: on in a network that you trust",
		`{type: ntfy, url: "https://x/y", token_file: token}`:                                         "services: ntfy: token_file: expected the absolute path of a file with the secret in it",
		`{type: smtp, server: mail.example.org, from: a@example.org, to: b@example.org}`:              "services: smtp: server: expected host and port, for example mail.example.org:587",
		`{type: smtp, server: "m.example.org:25", from: "a", to: b@example.org}`:                      "services: smtp: from: expected a mail address, for example felhom@example.org",
		`{type: smtp, server: "m.example.org:25", from: a@example.org, to: b@example.org, tls: none}`: "services: smtp: tls: none is for a mail server of this machine alone; use starttls or tls",
		`{type: smtp, server: "m.example.org:25", from: a@example.org, to: b@example.org, user: u}`:   "services: smtp: user and password_file belong together: give both or none",
		`{type: ntfy, name: command, url: "https://x/y"}`:                                             `services: the name "command" is used already: give this service its own, with name`,
		`{type: ntfy, name: "a b", url: "https://x/y"}`:                                               "services: name: expected at most 40 letters, digits and dashes",
		`{type: ntfy, type: ntfy}`:                                                                    "services: type stands there twice",
		`{type: webhook, url_file: /a/f, token_file: /b/f}`:                                           "webhook: /b/f and /a/f have the same name: rename one",
	} {
		_, err := config.Read("", []string{"FELHOM_AGENT_NOTIFY={services: [" + text + "]}"}, true)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "FELHOM_AGENT_NOTIFY: ")
		}
		if got != want || strings.Contains(got, secret) {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		`{services: []}`:                   "services: expected a list of 1 to 8 services, for example [{type: ntfy, url_file: /etc/felhom-agent/ntfy}]",
		`{ping: {url: "https://x/uuid"}}`:  "ping: ping: unknown key url: the URL of a ping is a secret, which is read from a file: url_file",
		`{ping: {url_file: /f}, pass: on}`: "pass is for a command, and there is none; a dead man's switch is ping: {url_file: /etc/felhom-agent/ping}",
	} {
		_, err := config.Read("", []string{"FELHOM_AGENT_NOTIFY=" + text}, true)
		if got := fmt.Sprint(err); got != "FELHOM_AGENT_NOTIFY: "+want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// TestServiceSecrets: a secret that cannot be read is said with its fix, and keeps the rest of the configuration in force.
// What systemd hands over comes first.
func TestServiceSecrets(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	credentials := filepath.Join(dir, "credentials")
	put("credentials/notify-handed", "hush-from-systemd\n", 0o444)
	for path, want := range map[string]string{
		put("good", "hush0123\n", 0o600):                "",
		put("open", "hush0123\n", 0o644):                "every user of this machine may read " + dir + "/open: chmod 600 " + dir + "/open, and create a new secret if it may have been read",
		put("empty", " \n", 0o600):                      dir + "/empty is empty: expected a secret",
		put("two", "hush0123\nhush4567\n", 0o600):       dir + "/two has more than one line: expected a secret alone",
		filepath.Join(dir, "none"):                      dir + "/none does not exist: put the secret there (mode 600)",
		filepath.Join(dir, "handed"):                    "",
		dir:                                             dir + ": it is not a regular file",
		put("large", strings.Repeat("x", 2<<20), 0o600): dir + "/large: it has more than 1 MiB",
	} {
		c, err := config.Read("", []string{"CREDENTIALS_DIRECTORY=" + credentials, `FELHOM_AGENT_NOTIFY={services: [{type: ntfy, url: "https://x/y", token_file: ` + path + `}]}`}, true)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, err := range c.Notify.Unusable() {
			got += err.Error()
		}
		if want != "" {
			want = "ntfy: " + want
		}
		if got != want || strings.Contains(got, "hush") {
			t.Errorf("%s:\n got %s\nwant %s", path, got, want)
		}
		if secret := c.Notify.Services[0].Secret; want == "" && !strings.HasPrefix(secret.Reveal(), "hush") || strings.Contains(fmt.Sprintf("%v %+v %#v", c, c.Notify, secret), "hush") {
			t.Errorf("%s: %v", path, c.Notify)
		}
	}
}

// TestNotifySetup: the drop-in opens the addresses of what is configured, and the resolver where a name is among them.
func TestNotifySetup(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "ntfy-token")
	hook := filepath.Join(dir, "hook")
	for path, text := range map[string]string{secret: "hush0123456789", hook: "https://hooks.example.org/hush0123456789"} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := lookupHost
	t.Cleanup(func() { lookupHost = before })
	lookupHost = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		switch host {
		case "hooks.example.org":
			return []netip.Addr{netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("::ffff:203.0.113.7"), netip.MustParseAddr("203.0.113.7")}, nil
		case "localhost":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, errors.New("no such host")
	}
	print := func(text string) (string, error) {
		c, err := config.Read("", []string{"FELHOM_AGENT_NOTIFY=" + text}, true)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err = writeNotifySetup(t.Context(), &b, &c.Notify, "# resolvers\nnameserver 192.168.1.1\nnameserver 127.0.0.53\noptions edns0\n")
		_, unit, _ := strings.Cut(b.String(), "[Service]\n")
		return unit, err
	}
	got, err := print(`{services: [{type: ntfy, url: "https://192.168.1.5/house", token_file: ` + secret + `}, {type: webhook, url_file: ` + hook + `}, {type: smtp, server: "localhost:25", from: a@example.org, to: b@example.org}]}`)
	want := "LoadCredential=notify-ntfy-token:" + secret + "\n# ntfy: 192.168.1.5\nIPAddressAllow=192.168.1.5\n" +
		"LoadCredential=notify-hook:" + hook + "\n# webhook: hooks.example.org\nIPAddressAllow=203.0.113.7\nIPAddressAllow=2001:db8::7\n" +
		"# DNS, as /etc/resolv.conf says\nIPAddressAllow=192.168.1.1\n"
	if err != nil || got != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	got, err = print(`{services: [{type: ntfy, url: "https://127.0.0.1/house"}]}`)
	if err != nil || got != "" {
		t.Errorf("this machine alone: %v %s", err, got)
	}
	got, err = print(`{services: [{type: ntfy, url: "https://gone.example.org/house"}], ping: {url_file: ` + dir + `/none}}`)
	if err == nil || !strings.Contains(err.Error(), "gone.example.org has no address now") || !strings.Contains(got, dir+"/none does not exist: put the secret there") || strings.Contains(got, "LoadCredential") {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := print(`{command: /bin/true}`); err == nil || !strings.Contains(err.Error(), "network.conf") {
		t.Errorf("%v", err)
	}
}
