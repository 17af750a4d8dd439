package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-agent/quote"
)

// A Secret is a text that prints as stars.
type Secret struct{ text string }

// NewSecret makes a secret known, so that nothing shows it.
func NewSecret(s string) Secret { quote.Secret(s); return Secret{s} }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return s.text }

func (s Secret) String() string   { return quote.Hidden }
func (s Secret) GoString() string { return quote.Hidden }

// Credential is the name under which systemd hands a file to the service.
func Credential(file string) string { return "notify-" + filepath.Base(file) }

// readSecrets reads the secrets of all services. One that cannot be read keeps its service from being used, and nothing else.
func (c *NotifyConfig) readSecrets(environ []string) {
	for _, s := range c.Targets() {
		s.Missing = s.readSecrets(lookup(environ, "CREDENTIALS_DIRECTORY"))
	}
}

func (s *Service) readSecrets(credentials string) (first error) {
	for _, file := range s.Files {
		text, err := serviceSecret(file, credentials)
		switch {
		case err != nil:
		case file == s.secretFile:
			s.Secret = NewSecret(text)
		default:
			err = s.setURL(file, text)
		}
		first = cmp.Or(first, err)
	}
	return first
}

// setURL takes a URL that is a secret: none of it but its host is shown.
func (s *Service) setURL(file, text string) error {
	s.URL = NewSecret(text)
	if err := s.checkURL(); err != nil {
		s.URL = Secret{}
		return fmt.Errorf("%s: %w", file, err)
	}
	if u, err := url.Parse(text); err == nil {
		quote.Secret(strings.TrimPrefix(u.RequestURI(), "/"))
		quote.Secret(strings.TrimPrefix(u.Path, "/"))
	}
	return nil
}

// serviceSecret reads a file with one secret in it: as systemd hands it over, where it does, else the file itself.
func serviceSecret(file, credentials string) (string, error) {
	path, guarded := file, true
	if handed := filepath.Join(credentials, Credential(file)); credentials != "" {
		if _, err := os.Stat(handed); err == nil {
			path, guarded = handed, false
		}
	}
	info, err := os.Stat(path)
	var text []byte
	if err == nil {
		text, err = readFile(path)
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s does not exist: put the secret there (mode 600)", file)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s may not be read by %s: for the service, felhom-agent --print-setup --notify prints a drop-in that hands it over", file, User())
	case err != nil:
		return "", fmt.Errorf("%s: %w", file, errors.Unwrap(err))
	case guarded && info.Mode()&0o007 != 0:
		return "", fmt.Errorf("every user of this machine may read %s: chmod 600 %s, and create a new secret if it may have been read", file, file)
	case secret == "":
		return "", fmt.Errorf("%s is empty: expected a secret", file)
	case strings.ContainsAny(secret, "\r\n\x00"):
		return "", fmt.Errorf("%s has more than one line: expected a secret alone", file)
	}
	return secret, nil
}
