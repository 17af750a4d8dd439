package proxmox

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
)

// tlsConfig trusts the pinned certificate, or the given authorities, or the
// system's. There is no way to trust everything.
func tlsConfig(o Options, host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Fingerprint != "" {
		if o.CAFile != "" || len(o.CA) > 0 {
			return nil, errors.New("both a fingerprint and a CA are given: keep one")
		}
		pin, err := parseFingerprint(o.Fingerprint)
		if err != nil {
			return nil, err
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
			return nil, fmt.Errorf("the CA file cannot be read: %w", err)
		}
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("the CA has no certificate in PEM form: use a copy of /etc/pve/pve-root-ca.pem")
		}
	}
	return config, nil
}

func parseFingerprint(s string) ([]byte, error) {
	pin, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("%q is no SHA-256 fingerprint: 32 bytes in hex, as printed by `pvenode cert info`", s)
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

// isCertificate tells that the other side's certificate was the reason.
func isCertificate(err error) bool {
	if _, ok := errors.AsType[*CertificateError](err); ok {
		return true
	}
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

func sortedKeys(keys iter.Seq[string]) []string { return slices.Sorted(keys) }
