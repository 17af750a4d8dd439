package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// Where things are unless somebody says otherwise.
const (
	defaultConfig = "/etc/felhom-agent/agent.yaml"
	defaultState  = "/var/lib/felhom-agent"
)

const envPrefix = "FELHOM_AGENT_"

// config is the agent's configuration, checked. The file agent.yaml (YAML or JSON) gives it key by key,
// and for every key the environment's FELHOM_AGENT_KEY comes first.
type config struct {
	url, node, fingerprint, ca, owner string
	token                             proxmox.Token
	runner                            privileged.Runner // nil: none
	runnerMode                        string            // sudo, direct, socket or none
	state                             string            // "": the default
	interval, timeout, settle         time.Duration
	listen                            listenAddress // none: its network is ""
	notify                            notifyConfig
	drift                             spec.Drift // "": each kind's default
	maxDestructive                    int
	logLevel                          zapcore.Level
	logFormat                         string
	file                              string // the configuration's
	// places says where a key was given, as "agent.yaml:4" or "FELHOM_AGENT_URL".
	places map[string]string
	// incomplete says what is missing to reach a node; some modes reach none.
	incomplete error
	warning    string
}

// leastSettle is how long after a lost answer PVE may still carry out the request: pveproxy gives up on the
// daemon behind it after 30 s of silence, and the daemon goes on.
const leastSettle = 30 * time.Second

var logFormats = []string{"console", "json"}

// keys are the keys of agent.yaml. Those that tell how to reach a node and where its service keeps its
// things are not read for a simulated node, which so can never turn out to be a real one.
var keys = map[string]struct{ connection bool }{
	"url": {true}, "token_id": {true}, "token_secret": {true}, "token_file": {true}, "fingerprint": {true}, "ca": {true},
	"node": {true}, "runner": {true}, "state": {true},
	"owner": {}, "notify": {}, "listen": {}, "interval": {}, "drift": {}, "max_destructive": {}, "timeout": {}, "settle": {}, "log_level": {}, "log_format": {},
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
	return nearest(key, maps.Keys(keys))
}

// rivals are keys of which one is enough: the environment's takes the place of the file's others.
var rivals = [][]string{{"token_secret", "token_file"}, {"fingerprint", "ca"}}

// configError is a mistake in the configuration.
type configError struct{ place, key, text string }

func (e *configError) Error() string {
	parts := slices.DeleteFunc([]string{e.place, e.key, e.text}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// entry is a key as it was given.
type entry struct{ value, place string }

// readConfig reads the configuration. A file that was not named may be missing. environ is as os.Environ
// gives it.
func readConfig(file string, environ []string, simulate bool) (*config, error) {
	r := reading{given: map[string]entry{}, simulate: simulate}
	named := file != ""
	if file = cmp.Or(file, defaultConfig); named || !simulate {
		text, err := os.ReadFile(file)
		switch {
		case err == nil:
			r.file(file, text)
			if info, err := os.Stat(file); err == nil && r.given["token_secret"].value != "" && info.Mode()&0o007 != 0 {
				r.warning = fmt.Sprintf("%s holds the token's secret, and everybody on this machine may read it: chmod 640 %s", file, file)
			}
		case errors.Is(err, os.ErrPermission):
			r.fail(entry{place: file}, "", "it cannot be read: you are %s; run it as root (sudo), or as the user to whom the file belongs", whoRuns())
		case named || !errors.Is(err, os.ErrNotExist):
			r.fail(entry{place: file}, "", "it cannot be read: %v. Name the configuration with --config FILE; the usual one is %s", errors.Unwrap(err), defaultConfig)
		}
	}
	r.environment(environ)
	c := r.settle(environ)
	c.file = file
	if err := r.errs.ErrorOrNil(); err != nil {
		return nil, err
	}
	if !simulate {
		c.incomplete = r.complete(file, c)
	}
	c.warning = r.warning
	return c, nil
}

// givenIn is what a configuration says that need not be complete or valid yet.
func givenIn(file string, environ []string) map[string]entry {
	r := reading{given: map[string]entry{}}
	file = cmp.Or(file, defaultConfig)
	if text, err := os.ReadFile(file); err == nil {
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
	if strings.HasPrefix(e.place, envPrefix) {
		key = "" // its name says it
	}
	r.errs = multierror.Append(r.errs, &configError{e.place, key, fmt.Sprintf(format, args...)})
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
			r.fail(entry{place: at(name, &second)}, "", "a second document begins here: the configuration is one")
			return
		}
	}
	if err != nil {
		m := yamlLine.FindStringSubmatch(err.Error())
		place := name
		if m != nil && m[1] != "" {
			place += ":" + m[1]
		}
		r.fail(entry{place: place}, "", "this is no YAML (each line is a key, a colon, a blank and a value): %s", strings.TrimPrefix(err.Error(), strings.Join(m[:min(len(m), 1)], "")))
		return
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		r.fail(entry{place: at(name, root)}, "", "it shall be a map of keys such as `url: https://pve1:8006`")
		return
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		e := entry{value: value.Value, place: at(name, key)}
		switch known, ok := keys[key.Value]; {
		case !ok:
			r.fail(e, key.Value, "there is no such key%s", likelyKey(key.Value))
		case r.given[key.Value] != entry{}:
			r.fail(e, key.Value, "it stands here a second time (first: %s): keep one", r.given[key.Value].place)
		case known.connection && r.simulate:
		case key.Value == "notify" && value.Kind == yaml.MappingNode:
			text, _ := yaml.Marshal(value) // a node that was parsed can be printed
			e.value = string(text)
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
		key, ours := strings.CutPrefix(name, envPrefix)
		if !ours {
			continue
		}
		key = strings.ToLower(key)
		known, ok := keys[key]
		e := entry{value: value, place: name}
		switch {
		case r.simulate && (!ok || known.connection):
		case !ok:
			r.fail(e, "", "there is no such key%s", likelyKey(key))
		case value == "": // as if it were not there
		default:
			for _, group := range rivals {
				for _, rival := range group {
					if slices.Contains(group, key) && rival != key && !strings.HasPrefix(r.given[rival].place, envPrefix) {
						delete(r.given, rival)
					}
				}
			}
			r.given[key] = e
		}
	}
}

// settle turns what was given into values.
func (r *reading) settle(environ []string) *config {
	c := &config{interval: 15 * time.Minute, timeout: 10 * time.Minute, settle: time.Minute, maxDestructive: 20, logLevel: zapcore.InfoLevel, logFormat: "console", places: map[string]string{}}
	for key, e := range r.given {
		c.places[key] = e.place
	}
	text := func(key string) string { return r.given[key].value }
	check := func(key string, read func(string) error) {
		if e, ok := r.given[key]; ok {
			if err := read(e.value); err != nil {
				r.fail(e, key, "%q: %v", strings.TrimSpace(e.value), err)
			}
		}
	}
	for _, group := range rivals {
		if a, b := r.given[group[0]], r.given[group[1]]; a.place != "" && b.place != "" {
			r.fail(b, group[1], "%s is given too (%s): keep one of them", group[0], a.place)
		}
	}
	c.url, c.node, c.owner, c.ca, c.fingerprint, c.state = text("url"), text("node"), text("owner"), text("ca"), text("fingerprint"), text("state")
	check("interval", intervalTo(&c.interval))
	check("timeout", func(s string) (err error) { c.timeout, err = parseDuration(s); return err })
	check("settle", func(s string) (err error) {
		if c.settle, err = parseDuration(s); err == nil && c.settle < leastSettle {
			err = fmt.Errorf("it is %s or more: PVE may carry out a request that long after its answer was lost", leastSettle)
		}
		return err
	})
	check("notify", func(s string) (err error) {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(s), &doc); err != nil || len(doc.Content) != 1 {
			return errors.New("it wants a map: {command: /usr/local/bin/tell-me}")
		}
		c.notify, err = parseNotify(doc.Content[0])
		return err
	})
	check("listen", func(s string) (err error) { c.listen, err = parseListen(s); return err })
	check("drift", func(s string) error {
		c.drift = spec.Drift(s)
		return oneOf(string(spec.DriftHeal), string(spec.DriftReport))(s)
	})
	check("max_destructive", func(s string) (err error) {
		if c.maxDestructive, err = strconv.Atoi(s); err != nil || c.maxDestructive < 1 {
			return errors.New("it is a number of deletions, 1 or more")
		}
		return nil
	})
	check("log_level", func(s string) error {
		level, err := parseLevel(s)
		if err == nil {
			c.logLevel = *level
		}
		return err
	})
	check("log_format", func(s string) error { c.logFormat = s; return oneOf(logFormats...)(s) })
	check("state", func(s string) error {
		if !filepath.IsAbs(s) {
			return fmt.Errorf("it is a path from the root, such as %s", defaultState)
		}
		return nil
	})
	check("owner", func(s string) error {
		if strings.ContainsAny(s, " \t\n=") {
			return errors.New("it is one word, which the markers of our guests bear")
		}
		return nil
	})
	if !r.simulate {
		c.runner, c.runnerMode = &privileged.ExecRunner{}, "sudo"
		check("runner", func(s string) (err error) { c.runner, c.runnerMode, err = parseRunner(s); return err })
		c.token = r.token(environ)
	}
	return c
}

// complete says what is missing to reach a node.
func (r *reading) complete(file string, c *config) error {
	var missing []*configError
	for _, want := range []struct {
		key, example string
		there        bool
	}{
		{"url", "`url: https://HOST:8006`", c.url != ""},
		{"token_id", "`token_id: felhom@pve!agent`", r.given["token_id"].value != ""},
		{"token_secret", "`token_file: /etc/felhom-agent/token`", c.token.ID() != "" || r.secret},
	} {
		if !want.there {
			missing = append(missing, &configError{file, want.key, fmt.Sprintf("it is missing: %s, or %s%s in the environment", want.example, envPrefix, strings.ToUpper(want.key))})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	missing[len(missing)-1].text += ". How user and token are made: felhom-agent --print-setup. Without any node: --simulate"
	errs := &multierror.Error{ErrorFormat: lines}
	for _, e := range missing {
		errs = multierror.Append(errs, e)
	}
	return errs
}
