package kit

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// theFingerprint is that of the key whose bytes are 0 to 31, by the tests of Proxmox Backup Server (pbs-key-config).
const theFingerprint = "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"

// The key file of a storage is the one that the kit has the fingerprint of, whole, and one that PVE can use. No message quotes what is in it.
func TestCheckKey(t *testing.T) {
	data := make([]byte, 32)
	for i := range data {
		data[i] = byte(i)
	}
	whole := base64.StdEncoding.EncodeToString(data)
	file := func(text string) string {
		at := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	other := strings.Replace(theFingerprint, "0e:", "0f:", 1)
	for name, tt := range map[string]struct{ text, storage, wrong string }{
		"the key":           {`{"kdf":null,"data":"` + whole + `","fingerprint":"` + theFingerprint + `"}`, theFingerprint, ""},
		"in capitals":       {`{"data":"` + whole + `","fingerprint":"` + strings.ToUpper(theFingerprint) + `"}`, theFingerprint, ""},
		"says no print":     {`{"kdf":null,"data":"` + whole + `"}`, theFingerprint, ""},
		"storage has none":  {`{"kdf":null,"data":"` + whole + `"}`, "1", ""},
		"another":           {`{"kdf":null,"data":"` + whole + `"}`, other, "is another key"},
		"claims to be":      {`{"kdf":null,"data":"` + whole + `","fingerprint":"` + other + `"}`, other, "is damaged"},
		"cut off":           {`{"kdf":null,"data":"` + whole[:20] + `","fingerprint":"` + theFingerprint + `"}`, theFingerprint, "is damaged"},
		"with a passphrase": {`{"kdf":{"Scrypt":{"n":65536}},"data":"` + whole + `"}`, theFingerprint, "is protected by a password"},
		"a password":        {"hunter2-hunter2", theFingerprint, "is not an encryption key"},
		"empty":             {"", theFingerprint, "is not an encryption key"},
		"a list":            {"[]", theFingerprint, "is not an encryption key"},
		"huge":              {strings.Repeat(" ", 70<<10), theFingerprint, "at most 64 KiB"},
	} {
		err := Storage{ID: "pbs", Type: "pbs", Key: tt.storage}.CheckKey(file(tt.text))
		if (err == nil) != (tt.wrong == "") || err != nil && (!strings.Contains(err.Error(), tt.wrong) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, at := range []string{t.TempDir(), "/dev/zero", filepath.Join(t.TempDir(), "none")} {
		if err := (Storage{ID: "pbs", Key: theFingerprint}).CheckKey(at); err == nil {
			t.Errorf("%s is a key", at)
		}
	}
}

func TestPassword(t *testing.T) {
	for text, want := range map[string]string{"hunter2-ü \n": "hunter2-ü ", "a\r\n": "a", "": "", "\n": "", "two\nlines\n": "", "t\tab": ""} {
		at := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if have, err := Password(at); have != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, have, err)
		}
	}
}
