package proxmox

import (
	"errors"
	"io"
	"net/http"
	"testing"
)

// TestAddresses: an address may be of any kind that a URL takes, with or without
// PVE's port; what is none is refused before anything is sent.
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"https://pve1":                   "https://pve1:8006/api2/json/version",
		"https://pve1/":                  "https://pve1:8006/api2/json/version",
		"https://pve1:":                  "https://pve1:8006/api2/json/version",
		"HTTPS://pve1:443":               "https://pve1:443/api2/json/version",
		"https://192.0.2.11":             "https://192.0.2.11:8006/api2/json/version",
		"https://[2001:db8::11]":         "https://[2001:db8::11]:8006/api2/json/version",
		"https://[2001:db8::11]:":        "https://[2001:db8::11]:8006/api2/json/version",
		"https://[2001:db8::11]:8006":    "https://[2001:db8::11]:8006/api2/json/version",
		"https://[fe80::1%25vmbr0]":      "https://[fe80::1%25vmbr0]:8006/api2/json/version",
		"https://[fe80::1%25vmbr0]:8006": "https://[fe80::1%25vmbr0]:8006/api2/json/version",
		"pve1":                           "",
		"pve1:8006":                      "",
		"192.0.2.11:8006":                "",
		"https://":                       "",
		"https://:8006":                  "",
		"https://2001:db8::11":           "",
		"https://pve1:port":              "",
		"https://pve1:99999":             "",
		"https://pve1:8006/api2/json":    "",
		"https://root:x@pve1:8006":       "",
		"https://pve1:8006?x=1":          "",
		"ftp://pve1":                     "",
	} {
		var asked string
		client, err := New(Options{URL: address, Token: testToken(t), Retries: -1, Transport: fake(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return nil, io.EOF
		})})
		var option *OptionError
		if want == "" {
			if !errors.As(err, &option) || option.Option != "URL" {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if client.Version(t.Context()); asked != want {
			t.Errorf("%s: asked %s, want %s", address, asked, want)
		}
	}
}
