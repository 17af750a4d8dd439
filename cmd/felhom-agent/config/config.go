package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/spec"
)

// Where things are unless somebody says otherwise.
const (
	DefaultConfig = "/etc/felhom-agent/agent.yaml"
	DefaultState  = "/var/lib/felhom-agent"
)

const EnvPrefix = "FELHOM_AGENT_"

// Config is the agent's configuration, checked. The file agent.yaml (YAML or JSON) gives it key by key,
// and for every key the environment's FELHOM_AGENT_KEY comes first.
type Config struct {
	Url, Node, Fingerprint, Ca, Owner string
	Token                             proxmox.Token
	TestsToken                        proxmox.TestToken // zero: restore tests have none
	TestsTokenMissing                 string            // why, where its id was given
	Runner                            privileged.Runner // nil: none
	RunnerMode                        string            // sudo, direct, socket or none
	State                             string            // "": the default
	Interval, Timeout, Settle         time.Duration
	Listen                            ListenAddress // none: its network is ""
	Notify                            NotifyConfig
	KitTemplates                      bool       // recovery kits hold the templates of golden images too
	Drift                             spec.Drift // "": each kind's default
	MaxDestructive                    int
	LogLevel                          zapcore.Level
	LogFormat                         string
	File                              string // the configuration's
	// Places says where a key was given, as "agent.yaml:4" or "FELHOM_AGENT_URL".
	Places map[string]string
	// Incomplete says what is missing to reach a node; some modes reach none.
	Incomplete error
	Warning    string
}

// Keys are the keys of agent.yaml. Those that tell how to reach a node and where its service keeps its
// things are not read for a simulated node, which so can never turn out to be a real one.
var Keys = map[string]struct{ connection bool }{
	"url": {true}, "token_id": {true}, "token_secret": {true}, "token_file": {true},
	"tests_token_id": {true}, "tests_token_secret": {true}, "tests_token_file": {true}, "fingerprint": {true}, "ca": {true},
	"node": {true}, "runner": {true}, "state": {true},
	"owner": {}, "notify": {}, "kit": {}, "listen": {}, "interval": {}, "drift": {}, "max_destructive": {}, "timeout": {}, "settle": {}, "log_level": {}, "log_format": {},
}

// likelyKey says what a key that there is not was probably meant to be; other tools have words of their own.
func likelyKey(key string) string {
	switch key {
	case "insecure", "tls_insecure", "skip_verify", "verify_ssl", "verify_tls":
		return ", and no insecure mode: pin the certificate with fingerprint (pvenode cert info prints it), or name its authority with ca"
	case "user", "username", "password":
		return ": the agent has an API token, no password: token_id and token_file (--print-setup prints how they are made)"
	case "host", "hostname", "server", "endpoint":
		return ": did you mean url?"
	}
	return Nearest(key, maps.Keys(Keys))
}

// rivals are keys of which one is enough: the environment's takes the place of the file's others.
var rivals = [][]string{{"token_secret", "token_file"}, {"tests_token_secret", "tests_token_file"}, {"fingerprint", "ca"}}

func secretKey(key string) bool { return key == "token_secret" || key == "tests_token_secret" }

// Error is a mistake in the configuration.
type Error struct{ Place, Key, Text string }

func (e *Error) Error() string {
	text := quote.Beside(e.Place+" "+e.Key, e.Text) // the place may be FELHOM_AGENT_TOKEN_SECRET
	parts := slices.DeleteFunc([]string{e.Place, e.Key, text}, func(s string) bool { return s == "" })
	return quote.Line(strings.Join(parts, ": "))
}

// entry is a key as it was given.
type entry struct{ Value, Place string }

// Read reads the configuration. A file that was not named may be missing. environ is as os.Environ
// gives it.
func Read(file string, environ []string, simulate bool) (*Config, error) {
	r := reading{given: map[string]entry{}, simulate: simulate}
	named := file != ""
	if file = cmp.Or(file, DefaultConfig); named || !simulate {
		text, err := readFile(file)
		switch {
		case err == nil:
			r.file(file, text)
			if info, err := os.Stat(file); err == nil && (r.given["token_secret"].Value != "" || r.given["tests_token_secret"].Value != "") && info.Mode()&0o007 != 0 {
				r.warning = fmt.Sprintf("%s holds a token's secret, and everybody on this machine may read it: chmod 640 %s", file, file)
			}
		case errors.Is(err, os.ErrPermission):
			r.fail(entry{Place: file}, "", "it cannot be read: you are %s; run it as root (sudo), or as the user to whom the file belongs", User())
		case named || !errors.Is(err, os.ErrNotExist):
			r.fail(entry{Place: file}, "", "it cannot be read: %v. Name the configuration with --config FILE; the usual one is %s", errors.Unwrap(err), DefaultConfig)
		}
	}
	r.environment(environ)
	c := r.settle(environ)
	c.File = file
	if err := r.errs.ErrorOrNil(); err != nil {
		return nil, err
	}
	if !simulate {
		c.Incomplete = r.complete(file, c)
	}
	c.Warning = r.warning
	return c, nil
}

// GivenIn is what a configuration says that need not be complete or valid yet.
func GivenIn(file string, environ []string) map[string]entry {
	r := reading{given: map[string]entry{}}
	file = cmp.Or(file, DefaultConfig)
	if text, err := readFile(file); err == nil {
		r.file(file, text)
	}
	r.environment(environ)
	return r.given
}

// reading is a configuration that is being read.
type reading struct {
	given    map[string]entry
	simulate bool
	secret   bool // there is one
	warning  string
	errs     *multierror.Error
}

func (r *reading) fail(e entry, key, format string, args ...any) {
	if strings.HasPrefix(e.Place, EnvPrefix) {
		key = "" // its name says it
	}
	r.errs = multierror.Append(r.errs, &Error{e.Place, key, fmt.Sprintf(format, args...)})
	r.errs.ErrorFormat = lines
}

func lines(errs []error) string {
	var b strings.Builder
	for i, err := range errs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// anchorName is the one word of a file that yaml.v3 quotes; the file may be any.
var anchorName = regexp.MustCompile(`unknown anchor '[^']*'`)

// file reads a YAML file (JSON is YAML) strictly: one document, a map of known keys to plain values.
func (r *reading) file(name string, text []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return // nothing but comments
	}
	if err == nil {
		if err = decoder.Decode(&second); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			r.fail(entry{Place: at(name, &second)}, "", "a second document begins here: the configuration is one")
			return
		}
	}
	if err != nil {
		m := yamlLine.FindStringSubmatch(err.Error())
		place := name
		if m != nil && m[1] != "" {
			place += ":" + m[1]
		}
		r.fail(entry{Place: place}, "", "this is not YAML (each line is a key, a colon, a space and a value): %s", anchorName.ReplaceAllString(strings.TrimPrefix(err.Error(), strings.Join(m[:min(len(m), 1)], "")), "unknown anchor"))
		return
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		r.fail(entry{Place: at(name, root)}, "", "expected a map of keys, for example `url: https://pve1:8006`")
		return
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		e := entry{Value: value.Value, Place: at(name, key)}
		if secretKey(key.Value) {
			quote.Secret(e.Value)
		}
		switch known, ok := Keys[key.Value]; {
		case !ok:
			r.fail(e, key.Value, "unknown key%s", likelyKey(key.Value))
		case r.given[key.Value] != entry{}:
			r.fail(e, key.Value, "it stands here a second time (first: %s): keep one", r.given[key.Value].Place)
		case known.connection && r.simulate:
		case (key.Value == "notify" || key.Value == "kit") && value.Kind == yaml.MappingNode:
			text, _ := yaml.Marshal(value) // a node that was parsed can be printed
			e.Value = string(text)
			r.given[key.Value] = e
		case value.Kind != yaml.ScalarNode:
			r.fail(e, key.Value, "it wants a single value, not a %s", map[yaml.Kind]string{yaml.MappingNode: "map", yaml.SequenceNode: "list"}[value.Kind])
		case value.Tag == "!!null" || value.Value == "":
			r.fail(e, key.Value, "it has no value: give one, or take the line out")
		default:
			r.given[key.Value] = e
		}
	}
}

func at(file string, n *yaml.Node) string { return fmt.Sprintf("%s:%d", file, n.Line) }

// environment takes what FELHOM_AGENT_* say.
func (r *reading) environment(environ []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		key, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours {
			continue
		}
		key = strings.ToLower(key)
		known, ok := Keys[key]
		e := entry{Value: value, Place: name}
		if secretKey(key) {
			quote.Secret(value)
		}
		switch {
		case r.simulate && (!ok || known.connection):
		case !ok:
			r.fail(e, "", "unknown key%s", likelyKey(key))
		case value == "": // as if it were not there
		default:
			for _, group := range rivals {
				for _, rival := range group {
					if slices.Contains(group, key) && rival != key && !strings.HasPrefix(r.given[rival].Place, EnvPrefix) {
						delete(r.given, rival)
					}
				}
			}
			r.given[key] = e
		}
	}
}
