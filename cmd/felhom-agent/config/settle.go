package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/spec"
)

// leastSettle is how long after a lost answer PVE may still carry out the request: pveproxy gives up on the
// daemon behind it after 30 s of silence, and the daemon goes on.
const leastSettle = 30 * time.Second

var LogFormats = []string{"console", "json"}

// settle turns what was given into values.
func (r *reading) settle(environ []string) *Config {
	c := &Config{Interval: 15 * time.Minute, Timeout: 10 * time.Minute, Settle: time.Minute, MaxDestructive: 20, LogLevel: zapcore.InfoLevel, LogFormat: "console", Places: map[string]string{}}
	for key, e := range r.given {
		c.Places[key] = e.Place
	}
	text := func(key string) string { return r.given[key].Value }
	for _, group := range rivals {
		if a, b := r.given[group[0]], r.given[group[1]]; a.Place != "" && b.Place != "" {
			r.fail(b, group[1], "%s is given too (%s): keep one of them", group[0], a.Place)
		}
	}
	c.Url, c.Node, c.Owner, c.Ca, c.Fingerprint, c.State = text("url"), text("node"), text("owner"), text("ca"), text("fingerprint"), text("state")
	r.settleTimes(c)
	r.settleService(c)
	c.Notify.readSecrets(environ)
	if !r.simulate {
		c.Runner, c.RunnerMode = &privileged.ExecRunner{}, "sudo"
		r.check("runner", func(s string) (err error) { c.Runner, c.RunnerMode, err = parseRunner(s); return err })
		c.Token = r.token(environ)
		c.TestsToken, c.TestsTokenMissing = r.testsToken(environ)
	}
	return c
}

// check has the value of a key read, if it was given.
func (r *reading) check(key string, read func(string) error) {
	e, ok := r.given[key]
	if !ok {
		return
	}
	err := read(e.Value)
	switch {
	case err == nil:
	case key == "notify": // its arguments may hold passwords
		r.fail(e, key, "%v", err)
	default:
		r.fail(e, key, "%q: %v", strings.TrimSpace(e.Value), err)
	}
}

// settleTimes reads how long things may take.
func (r *reading) settleTimes(c *Config) {
	r.check("interval", IntervalTo(&c.Interval))
	r.check("timeout", func(s string) (err error) { c.Timeout, err = ParseDuration(s); return err })
	r.check("settle", func(s string) (err error) {
		if c.Settle, err = ParseDuration(s); err == nil && c.Settle < leastSettle {
			err = fmt.Errorf("it is %s or more: PVE may carry out a request that long after its answer was lost", leastSettle)
		}
		return err
	})
}

// settleService reads the rest of what does not depend on the node: whom the agent tells, where it listens, how
// much it may do, what it logs, where it keeps its things.
func (r *reading) settleService(c *Config) {
	r.check("notify", func(s string) (err error) {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(s), &doc); err != nil || len(doc.Content) != 1 {
			return errors.New("expected a map, for example {command: /usr/local/bin/tell-me}")
		}
		c.Notify, err = ParseNotify(doc.Content[0])
		return err
	})
	r.check("kit", func(s string) error {
		var kit map[string]string
		if yaml.Unmarshal([]byte(s), &kit) != nil || len(kit) != 1 || kit["templates"] == "" {
			return errors.New("expected {templates: true} or {templates: false}")
		}
		var err error
		c.KitTemplates, err = onOff(kit["templates"])
		return err
	})
	r.check("listen", func(s string) (err error) { c.Listen, err = ParseListen(s); return err })
	r.check("drift", func(s string) error {
		c.Drift = spec.Drift(s)
		return OneOf(string(spec.DriftHeal), string(spec.DriftReport))(s)
	})
	r.check("max_destructive", func(s string) (err error) {
		if c.MaxDestructive, err = strconv.Atoi(s); err != nil || c.MaxDestructive < 1 {
			return errors.New("it is a number of deletions, 1 or more")
		}
		return nil
	})
	r.check("log_level", func(s string) error {
		level, err := ParseLevel(s)
		if err == nil {
			c.LogLevel = *level
		}
		return err
	})
	r.check("log_format", func(s string) error { c.LogFormat = s; return OneOf(LogFormats...)(s) })
	r.check("state", func(s string) error {
		if !filepath.IsAbs(s) {
			return fmt.Errorf("it is a path from the root, such as %s", DefaultState)
		}
		return nil
	})
	r.check("owner", func(s string) error {
		if strings.ContainsAny(s, " \t\n=") {
			return errors.New("expected one word, which the ownership markers contain")
		}
		return nil
	})
}

// complete says what is missing to reach a node.
func (r *reading) complete(file string, c *Config) error {
	var missing []*Error
	for _, want := range []struct {
		key, example string
		there        bool
	}{
		{"url", "`url: https://HOST:8006`", c.Url != ""},
		{"token_id", "`token_id: felhom@pve!agent`", r.given["token_id"].Value != ""},
		{"token_secret", "`token_file: /etc/felhom-agent/token`", c.Token.ID() != "" || r.secret},
	} {
		if !want.there {
			missing = append(missing, &Error{file, want.key, fmt.Sprintf("it is missing: %s, or %s%s in the environment", want.example, EnvPrefix, strings.ToUpper(want.key))})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	missing[len(missing)-1].Text += ". How user and token are made: felhom-agent --print-setup. Without any node: --simulate"
	errs := &multierror.Error{ErrorFormat: lines}
	for _, e := range missing {
		errs = multierror.Append(errs, e)
	}
	return errs
}
