package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// The types of services that notifications can be sent to.
const (
	Ntfy    = "ntfy"
	Gotify  = "gotify"
	Webhook = "webhook"
	SMTP    = "smtp"
	Ping    = "ping" // the dead man's switch, in the manner of healthchecks.io
)

// How a mail server is spoken to.
const (
	TLSStart    = "starttls" // the connection is encrypted before anything is said
	TLSImplicit = "tls"
	TLSNone     = "none" // this machine alone
)

// A Service is one to which notifications are sent: an entry of notify.services, or notify.ping.
type Service struct {
	Type, Name string
	URL        Secret // a URL may be a secret by itself
	Secret     Secret // the token or password; zero: none
	Server     string // of mail: HOST:PORT
	From, User string
	To         []string
	TLS        string
	AllowHTTP  bool
	Files      []string // where its secrets are
	Missing    error    // why they could not be read

	urlFile, secretFile string
}

// Host is what a service may be called in messages: the machine, nothing of a path, which may be a secret.
func (s *Service) Host() string {
	if s.Type == SMTP {
		return s.Server
	}
	if u, err := url.Parse(s.URL.text); err == nil && u.Host != "" {
		return u.Host
	}
	return "its host"
}

// mostServices is how many there may be.
const mostServices = 8

// serviceKeys are the keys of each type.
var serviceKeys = map[string][]string{
	Ntfy:    {"url", "url_file", "token_file", "allow_http"},
	Gotify:  {"url", "url_file", "token_file", "allow_http"},
	Webhook: {"url", "url_file", "token_file", "allow_http"},
	SMTP:    {"server", "from", "to", "user", "password_file", "tls"},
	Ping:    {"url_file", "allow_http"},
}

func (c *NotifyConfig) setServices(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > mostServices {
		return fmt.Errorf("expected a list of 1 to %d services, for example [{type: ntfy, url_file: /etc/felhom-agent/ntfy}]", mostServices)
	}
	for _, item := range n.Content {
		s, err := parseService(item, "")
		if err != nil {
			return err
		}
		if s.Name == "command" || s.Name == Ping || slices.ContainsFunc(c.Services, func(o Service) bool { return o.Name == s.Name }) {
			return fmt.Errorf("the name %q is used already: give this service its own, with name", s.Name)
		}
		c.Services = append(c.Services, s)
	}
	return nil
}

func (c *NotifyConfig) setPing(n *yaml.Node) error {
	s, err := parseService(n, Ping)
	c.Ping = &s
	return err
}

// parseService reads one service. Its secrets are read later.
func parseService(n *yaml.Node, kind string) (s Service, err error) {
	if n.Kind != yaml.MappingNode {
		return s, errors.New("expected a map of keys")
	}
	given := map[string]*yaml.Node{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if given[key] != nil {
			return s, fmt.Errorf("%s stands there twice", key)
		}
		if given[key] = n.Content[i+1]; given[key].Kind == yaml.AliasNode {
			given[key] = given[key].Alias
		}
	}
	s.Type, s.Name = kind, kind
	if kind == "" {
		if given["type"] == nil {
			return s, errors.New("type is missing: ntfy, gotify, webhook or smtp")
		}
		s.Type = given["type"].Value
		if err := OneOf(Ntfy, Gotify, Webhook, SMTP)(s.Type); err != nil {
			return s, fmt.Errorf("type: %w", err)
		}
		if s.Name = s.Type; given["name"] != nil {
			s.Name = given["name"].Value
		}
		if s.Name == "" || strings.Trim(strings.ToLower(s.Name), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(s.Name) > 40 {
			return s, errors.New("name: expected at most 40 letters, digits and dashes")
		}
		delete(given, "type")
		delete(given, "name")
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		value := given[key]
		switch {
		case !slices.Contains(serviceKeys[s.Type], key):
			return s, fmt.Errorf("%s: unknown key %s%s", s.Name, key, likelyServiceKey(key, s.Type))
		case key == "to" && value.Kind == yaml.SequenceNode:
		case value.Kind != yaml.ScalarNode || value.Value == "":
			return s, fmt.Errorf("%s: %s: it wants a single value", s.Name, key)
		}
		if err := s.set(key, value); err != nil {
			return s, fmt.Errorf("%s: %s: %w", s.Name, key, err)
		}
	}
	if err := s.complete(); err != nil {
		return s, fmt.Errorf("%s: %w", s.Name, err)
	}
	return s, nil
}

func likelyServiceKey(key, kind string) string {
	switch key {
	case "url":
		return ": the URL of a ping is a secret, which is read from a file: url_file"
	case "token", "password", "secret":
		return ": a secret is read from a file: " + map[string]string{SMTP: "password_file"}[kind] + map[bool]string{true: "token_file"}[kind != SMTP]
	}
	return Nearest(key, slices.Values(serviceKeys[kind]))
}

func (s *Service) set(key string, n *yaml.Node) (err error) {
	switch key {
	case "url":
		s.URL = Secret{n.Value} // not made known: the name of its host is shown
	case "url_file", "token_file", "password_file":
		if !filepath.IsAbs(n.Value) {
			return errors.New("expected the absolute path of a file with the secret in it")
		}
		if s.Files = append(s.Files, n.Value); key == "url_file" {
			s.urlFile = n.Value
		} else {
			s.secretFile = n.Value
		}
	case "allow_http":
		s.AllowHTTP, err = onOff(n.Value)
	case "server":
		s.Server = n.Value
		if host, port, err := net.SplitHostPort(n.Value); err != nil || host == "" || port == "" {
			return errors.New("expected host and port, for example mail.example.org:587")
		}
	case "from":
		s.From, err = address(n.Value)
	case "to":
		nodes := n.Content
		if n.Kind == yaml.ScalarNode {
			nodes = []*yaml.Node{n}
		}
		for _, one := range nodes {
			to, err := address(one.Value)
			if err != nil {
				return err
			}
			s.To = append(s.To, to)
		}
	case "user":
		s.User = n.Value
	case "tls":
		s.TLS = n.Value
		return OneOf(TLSStart, TLSImplicit, TLSNone)(n.Value)
	}
	return err
}

// address is the plain address of a mailbox.
func address(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsAny(a.Address, "\r\n\x00<> ") {
		return "", errors.New("expected a mail address, for example felhom@example.org")
	}
	return a.Address, nil
}

// complete says what is missing in a service, and what does not go together.
func (s *Service) complete() error {
	if s.Type != SMTP {
		switch {
		case s.URL.text == "" && s.urlFile == "":
			return errors.New("url or url_file is missing")
		case s.URL.text != "" && s.urlFile != "":
			return errors.New("url and url_file are both given: keep one")
		case s.Type == Gotify && s.secretFile == "":
			return errors.New("token_file is missing: the file with the token of the application")
		case s.URL.text != "":
			return s.checkURL()
		}
		return nil
	}
	host, port, _ := net.SplitHostPort(s.Server)
	local := loopback(host)
	if s.TLS == "" {
		switch {
		case port == "465":
			s.TLS = TLSImplicit
		case local:
			s.TLS = TLSNone
		default:
			s.TLS = TLSStart
		}
	}
	switch {
	case s.Server == "" || s.From == "" || len(s.To) == 0:
		return errors.New("server, from and to are required")
	case s.TLS == TLSNone && !local:
		return errors.New("tls: none is for a mail server of this machine alone; use starttls or tls")
	case (s.User == "") != (s.secretFile == ""):
		return errors.New("user and password_file belong together: give both or none")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// checkURL reads the URL of a service. What it says shows nothing of it but its host.
func (s *Service) checkURL() error {
	u, err := url.Parse(s.URL.text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "":
		return errors.New("expected a URL, for example https://ntfy.example.org/house")
	case u.User != nil:
		return errors.New("it has a user or password in it: put the token into a file, with token_file")
	case s.Type != Webhook && s.Type != Ping && u.RawQuery != "":
		return errors.New("it has a query (?...): a token belongs into a file, with token_file")
	case s.Type == Ntfy && strings.Trim(u.Path, "/") == "":
		return errors.New("the topic is missing: https://ntfy.example.org/TOPIC")
	}
	if u.Scheme == "http" && !s.AllowHTTP && !loopback(u.Hostname()) && s.Files != nil {
		return fmt.Errorf("http sends the secret readably to %s: use https, or set allow_http: on in a network that you trust", u.Hostname())
	}
	return nil
}
