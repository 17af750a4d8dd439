package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"
)

// NotifyConfig is the key notify of agent.yaml:
//
//	notify:
//	  command: /usr/local/bin/tell-me     # or a list: the program and its arguments
//	  daily: "07:00"                      # one line a day, by the node's clock
//	  pass: on                            # also an event for every pass (for a dead man's switch)
//	  pve: on                             # PVE's own notification of every single backup
//	  services: [{type: ntfy, url_file: /etc/felhom-agent/ntfy}]
//	  ping: {url_file: /etc/felhom-agent/ping}
type NotifyConfig struct {
	Command  []string // empty: none is called
	Services []Service
	Ping     *Service // the dead man's switch; nil: none
	Daily    *hour
	Pass     bool
	Pve      bool
}

// Any reports whether anybody is told.
func (c *NotifyConfig) Any() bool { return len(c.Command) > 0 || len(c.Services) > 0 || c.Ping != nil }

// Targets are the services, with the dead man's switch.
func (c *NotifyConfig) Targets() (all []*Service) {
	for i := range c.Services {
		all = append(all, &c.Services[i])
	}
	if c.Ping != nil {
		all = append(all, c.Ping)
	}
	return all
}

// Unusable says which of those that are to be told cannot be, as far as that shows without telling them anything.
func (c *NotifyConfig) Unusable() (all []error) {
	if err := c.Read(); err != nil {
		all = append(all, err)
	}
	for _, s := range c.Targets() {
		if s.Missing != nil {
			all = append(all, fmt.Errorf("%s: %w", s.Name, s.Missing))
		}
	}
	return all
}

type hour struct{ Hour, Minute int }

var notifyKeys = []string{"command", "services", "ping", "daily", "pass", "pve"}

// ParseNotify reads the value of the key notify, as YAML; a text is the command.
func ParseNotify(n *yaml.Node) (NotifyConfig, error) {
	var c NotifyConfig
	switch n.Kind {
	case yaml.ScalarNode:
		return c, c.setCommand(n)
	case yaml.MappingNode:
	default:
		return c, errors.New("expected a map, for example {command: /usr/local/bin/tell-me}")
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if seen[key] {
			return c, fmt.Errorf("%s stands there twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "command":
			err = c.setCommand(value)
		case "services":
			err = c.setServices(value)
		case "ping":
			err = c.setPing(value)
		case "daily":
			err = c.setDaily(value.Value)
		case "pass":
			c.Pass, err = onOff(value.Value)
		case "pve":
			c.Pve, err = onOff(value.Value)
		default:
			err = fmt.Errorf("unknown key%s", Nearest(key, slices.Values(notifyKeys)))
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
	}
	switch {
	case len(c.Command) == 0 && len(c.Services) == 0 && c.Daily != nil:
		return c, errors.New("the command is missing: command: /usr/local/bin/tell-me")
	case len(c.Command) == 0 && c.Pass:
		return c, errors.New("pass is for a command, and there is none; a dead man's switch is ping: {url_file: /etc/felhom-agent/ping}")
	}
	return c, c.distinctFiles()
}

// distinctFiles refuses two files of one name in different folders: systemd hands them over by their names.
func (c *NotifyConfig) distinctFiles() error {
	named := map[string]string{}
	for _, s := range c.Targets() {
		for _, file := range s.Files {
			if other := named[filepath.Base(file)]; other != "" && other != file {
				return fmt.Errorf("%s: %s and %s have the same name: rename one", s.Name, other, file)
			}
			named[filepath.Base(file)] = file
		}
	}
	return nil
}

func (c *NotifyConfig) setCommand(n *yaml.Node) error {
	words := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		words = n.Content
	}
	for _, word := range words {
		if word.Kind != yaml.ScalarNode || strings.ContainsRune(word.Value, 0) {
			return errors.New("it is a program, or a list of a program and its arguments")
		}
		c.Command = append(c.Command, word.Value)
	}
	switch {
	case len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]):
		return errors.New("expected the absolute path of a program; no shell is used")
	case strings.ContainsAny(c.Command[0], " \t|;&$<>"):
		return fmt.Errorf("%q: no shell is used. Arguments are a list: [/usr/local/bin/tell-me, --loud]", c.Command[0])
	}
	return nil
}

// Look reports why the command could not be called, without calling it; nil where there is none.
func (c *NotifyConfig) Read() error {
	if len(c.Command) == 0 {
		return nil
	}
	program := c.Command[0]
	switch info, err := os.Stat(program); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist: put the program there (the service sees no /home, /root and /tmp), or correct notify", program)
	case err != nil:
		return fmt.Errorf("%w: let %s reach it, or correct notify", err, User())
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a program: correct notify", program)
	case unix.Faccessat(unix.AT_FDCWD, program, unix.X_OK, unix.AT_EACCESS) != nil:
		return fmt.Errorf("%s may not be run by %s: chmod 755 %s", program, User(), program)
	}
	return nil
}

func (c *NotifyConfig) setDaily(s string) error {
	for _, layout := range []string{"15:04", "15"} {
		if at, err := time.Parse(layout, s); err == nil {
			c.Daily = &hour{at.Hour(), at.Minute()}
			return nil
		}
	}
	return fmt.Errorf("invalid time of day %q: expected for example \"07:00\"", s)
}

func onOff(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "on", "true", "yes":
		return true, nil
	case "off", "false", "no":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", s)
}
