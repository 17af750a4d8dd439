package proxmox

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// tlsConfig trusts the pinned certificate, or the given authorities, or the
// system's. There is no way to trust everything.
func tlsConfig(o Options, host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Fingerprint != "" {
		if o.CAFile != "" || len(o.CA) > 0 {
			return nil, &OptionError{"CA", errors.New("both a fingerprint and a CA are given: keep one")}
		}
		pin, err := parseFingerprint(o.Fingerprint)
		if err != nil {
			return nil, &OptionError{"Fingerprint", err}
		}
		// The usual verification is replaced by a stricter one: this very
		// certificate.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return &CertificateError{Host: host, Seen: "none", Pinned: formatFingerprint(pin)}
			}
			seen := sha256.Sum256(state.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(seen[:], pin) != 1 {
				return &CertificateError{Host: host, Seen: formatFingerprint(seen[:]), Pinned: formatFingerprint(pin)}
			}
			return nil
		}
		return config, nil
	}
	pem := o.CA
	if o.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(o.CAFile); err != nil {
			return nil, &OptionError{"CA", fmt.Errorf("the CA file cannot be read: %w", err)}
		}
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &OptionError{"CA", errors.New("the CA has no certificate in PEM form: use a copy of /etc/pve/pve-root-ca.pem")}
		}
	}
	return config, nil
}

func parseFingerprint(s string) ([]byte, error) {
	pin, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("invalid SHA-256 fingerprint %q: expected 32 bytes in hex, as printed by `pvenode cert info`", s)
	}
	return pin, nil
}

func formatFingerprint(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// distrust finds out whether a failed connection failed because of the other
// side's certificate.
func distrust(err error, host string) (*CertificateError, bool) {
	if pinned, ok := errors.AsType[*CertificateError](err); ok {
		return pinned, true
	}
	unverified, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(unverified.UnverifiedCertificates) == 0 {
		return nil, false
	}
	seen := sha256.Sum256(unverified.UnverifiedCertificates[0].Raw)
	return &CertificateError{Host: host, Seen: formatFingerprint(seen[:]), Err: unverified.Err}, true
}
