package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/quote"
)

// token puts the token together. Its secret comes from the file or the environment, from a file of its
// own, or from systemd (LoadCredential=token:...).
func (r *reading) token(environ []string) proxmox.Token {
	id, secret := r.given["token_id"], r.given["token_secret"]
	if e, ok := r.given["token_file"]; ok {
		secret = entry{Place: e.Place}
		var err error
		if secret.Value, err = readSecret(e.Value, true); err != nil {
			r.fail(e, "token_file", "%v", err)
			return proxmox.Token{}
		}
	}
	if dir := lookup(environ, "CREDENTIALS_DIRECTORY"); dir != "" && secret.Place == "" {
		path := filepath.Join(dir, "token")
		value, err := readSecret(path, false) // systemd guards it
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.fail(entry{Place: path}, "", "%v", err)
			return proxmox.Token{}
		}
		secret = entry{Value: value, Place: path}
	}
	r.secret = secret.Value != ""
	if id.Value == "" || !r.secret {
		return proxmox.Token{} // complete says what is missing
	}
	token, err := proxmox.NewToken(id.Value, secret.Value)
	if err != nil {
		r.fail(id, "token_id", "%v", err)
	}
	return token
}

// NoCredential is what systemd gives as the credential tests-token where its file does not exist.
const NoCredential = "none"

// testsToken puts the token of restore tests together, or says why there is none although its id was given: without it
// tests are blocked, and all else goes on. In a service, systemd's credential tests-token comes before tests_token_file.
func (r *reading) testsToken(environ []string) (proxmox.TestToken, string) {
	id, secret, file := r.given["tests_token_id"], r.given["tests_token_secret"].Value, r.given["tests_token_file"]
	if id.Value == "" {
		return proxmox.TestToken{}, ""
	}
	if dir := lookup(environ, "CREDENTIALS_DIRECTORY"); dir != "" && secret == "" && !strings.HasPrefix(file.Place, EnvPrefix) {
		if value, err := readSecret(filepath.Join(dir, "tests-token"), false); err == nil && value != NoCredential {
			secret = value
		}
	}
	if secret == "" && file.Value == "" {
		return proxmox.TestToken{}, "tests_token_id is given, and neither tests_token_file nor tests_token_secret"
	}
	if secret == "" {
		var err error
		switch secret, err = readSecret(file.Value, true); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			return proxmox.TestToken{}, fmt.Sprintf("tests_token_file: %v", err)
		case err != nil:
			r.fail(file, "tests_token_file", "%v", err)
			return proxmox.TestToken{}, ""
		}
	}
	token, err := proxmox.NewTestToken(id.Value, secret)
	if err != nil {
		r.fail(id, "tests_token_id", "%v", err)
	}
	return token, ""
}

// readSecret reads a file with a secret in it.
func readSecret(path string, guarded bool) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", unreadable(err)
	}
	if guarded && info.Mode()&0o007 != 0 {
		return "", fmt.Errorf("every user of this machine may read %s: chmod 640 %s, and create a new secret if it may have been read (pveum user token remove, then add)", path, path)
	}
	text, err := readFile(path)
	if err != nil {
		return "", unreadable(err)
	}
	if secret := strings.TrimSpace(string(text)); secret != "" {
		quote.Secret(secret)
		return secret, nil
	}
	return "", fmt.Errorf("%s is empty: expected the token secret printed by `pveum user token add`", path)
}

// unreadable says what to do about a file with a secret that cannot be read.
func unreadable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: put the secret there that `pveum user token add` printed (mode 600)", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: you are %s; run it as root (sudo), or as the user to whom the file belongs", err, User())
	}
	return err
}
