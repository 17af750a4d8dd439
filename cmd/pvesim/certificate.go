package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// certificate reads the key and certificate in a PEM file, or makes them; with an empty
// path they are not kept. It is valid for the node's name, this machine and the host served on.
func certificate(path, node, host string) (tls.Certificate, error) {
	if path != "" {
		text, err := os.ReadFile(path)
		switch {
		case err == nil && len(text) > 0:
			cert, err := tls.X509KeyPair(text, text)
			if err != nil {
				return cert, fmt.Errorf("%s: %w; delete it to get a new certificate", path, err)
			}
			return cert, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return tls.Certificate{}, err
		}
	}
	text, err := selfSigned(node, host)
	if err != nil {
		return tls.Certificate{}, err
	}
	if path != "" { // written in place: the lock lies on this file
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(text, text)
}

func selfSigned(node, host string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	form := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: node, Organization: []string{"pvesim"}},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{node, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		form.IPAddresses = append(form.IPAddresses, ip)
	} else if host != "" {
		form.DNSNames = append(form.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// fingerprint is a certificate's as PVE prints it: SHA-256, upper case, with colons.
func fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
