package proxmox

import (
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestCertificates(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"data":{"version":"9.2.11"}}`) }
	_, s := server(t, handler)
	pin := fingerprint(s)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	try := func(change func(*Options)) error {
		o := Options{URL: s.URL, Token: testToken(t)}
		change(&o)
		c, err := New(o)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Version(t.Context())
		return err
	}
	for name, change := range map[string]func(*Options){
		"as printed":       func(o *Options) { o.Fingerprint = pin },
		"lower case":       func(o *Options) { o.Fingerprint = strings.ToLower(pin) },
		"without colons":   func(o *Options) { o.Fingerprint = strings.ReplaceAll(pin, ":", "") },
		"an authority":     func(o *Options) { o.CA = ca },
		"blanks around it": func(o *Options) { o.Fingerprint = " " + pin + "\n" },
	} {
		if err := try(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := hex.EncodeToString(make([]byte, 32))
	err := try(func(o *Options) { o.Fingerprint = other })
	cert, ok := errors.AsType[*CertificateError](err)
	if !ok || cert.Seen != pin || !IsPermanent(err) || IsTransient(err) || !strings.Contains(err.Error(), pin) {
		t.Errorf("changed certificate: %T %v", err, err)
	}
	err = try(func(o *Options) {})
	cert, ok = errors.AsType[*CertificateError](err)
	if !ok || cert.Seen != pin || cert.Pinned != "" || !IsPermanent(err) || IsTransient(err) || !strings.Contains(err.Error(), pin) {
		t.Errorf("an unknown authority: %T %v", err, err)
	}
	for name, c := range map[string]struct {
		option string
		change func(*Options)
	}{
		"short fingerprint": {"Fingerprint", func(o *Options) { o.Fingerprint = "AA:BB" }},
		"no hex":            {"Fingerprint", func(o *Options) { o.Fingerprint = strings.Repeat("zz", 32) }},
		"both":              {"CA", func(o *Options) { o.Fingerprint, o.CA = pin, ca }},
		"no PEM":            {"CA", func(o *Options) { o.CA = []byte("hello") }},
		"no such file":      {"CA", func(o *Options) { o.CAFile = t.TempDir() + "/ca.pem" }},
		"http":              {"URL", func(o *Options) { o.URL = strings.Replace(o.URL, "https", "http", 1) }},
		"no URL":            {"URL", func(o *Options) { o.URL = "" }},
		"no scheme":         {"URL", func(o *Options) { o.URL = "pve1:8006" }},
		"a path":            {"URL", func(o *Options) { o.URL += "/api2/json" }},
		"a password":        {"URL", func(o *Options) { o.URL = "https://root:x@pve1:8006" }},
		"no token":          {"Token", func(o *Options) { o.Token = Token{} }},
	} {
		err := try(c.change)
		if option, ok := errors.AsType[*OptionError](err); !ok || option.Option != c.option || IsTransient(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if u, err := parseURL("https://pve1"); err != nil || u.Host != "pve1:8006" {
		t.Errorf("default port: %v, %v", u, err)
	}
}
