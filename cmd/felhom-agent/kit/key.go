package kit

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

const mostKey = 64 << 10 // bytes of a key file; real ones have some 300

// unknownKey stands for the fingerprint of a key that has none in its file: PVE shows it so.
const unknownKey = "1"

var fingerprint = regexp.MustCompile(`\A[0-9a-f]{2}(:[0-9a-f]{2}){31}\z`)

// fingerprintOf is what PVE shows of a storage's encryption key, as a fingerprint; "" where there is no key.
func fingerprintOf(shown string) string {
	if shown = strings.ToLower(shown); shown == "" || fingerprint.MatchString(shown) {
		return shown
	}
	return unknownKey
}

// CheckKey makes sure that a file of this machine is the encryption key of a storage of a Proxmox Backup Server, and one that PVE can use.
func (s Storage) CheckKey(file string) error {
	text, err := readSmall(file, mostKey)
	if err != nil {
		return fmt.Errorf("the encryption key of the storage %s: %w", s.ID, err)
	}
	var key struct {
		KDF         json.RawMessage `json:"kdf"`
		Data        []byte          `json:"data"`
		Fingerprint string          `json:"fingerprint"`
	}
	if json.Unmarshal(text, &key) != nil || len(key.Data) == 0 { // what it is instead may be a secret
		return fmt.Errorf("%s is not an encryption key of a Proxmox Backup Server: expected the JSON of /etc/pve/priv/storage/%s.enc, or of the paper key", file, s.ID)
	}
	if len(key.KDF) > 0 && string(key.KDF) != "null" {
		return fmt.Errorf("%s is protected by a password, and Proxmox VE cannot use it: proxmox-backup-client key change-passphrase %s --kdf none", file, file)
	}
	have, err := keyPrint(key.Data)
	switch {
	case err != nil || key.Fingerprint != "" && fingerprintOf(key.Fingerprint) != have:
		return fmt.Errorf("%s is damaged: what is in it is not the key of its fingerprint", file)
	case s.Key != unknownKey && s.Key != have:
		return fmt.Errorf("%s is another key (%s…), and the storage %s encrypts with %s…", file, have[:23], s.ID, s.Key[:23])
	}
	return nil
}

// keyPrint is the fingerprint of a key. PBS: pbs-tools, CryptConfig::fingerprint.
func keyPrint(key []byte) (string, error) {
	if len(key) != 32 {
		return "", errors.New("a key has 32 bytes")
	}
	id, err := pbkdf2.Key(sha256.New, string(key), []byte("_id_key"), 10, 32)
	if err != nil {
		return "", err
	}
	input := sha256.Sum256([]byte("Proxmox Backup Encryption Key Fingerprint"))
	sum := sha256.Sum256(append(input[:], id...))
	digits := hex.EncodeToString(sum[:])
	parts := make([]string, 0, len(sum))
	for i := 0; i < len(digits); i += 2 {
		parts = append(parts, digits[i:i+2])
	}
	return strings.Join(parts, ":"), nil
}

// Password reads the password of a storage from a file of this machine: its only line.
func Password(file string) (string, error) {
	text, err := readSmall(file, 4096)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%s: expected a password, alone on one line", file)
	}
	return password, nil
}

// readSmall reads a regular file that a person has named.
func readSmall(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: expected a regular file of at most %d KiB", file, most>>10)
	}
	return os.ReadFile(file)
}
