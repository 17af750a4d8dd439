package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/notify"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
)

// setSelftest reads the value of --selftest.
func (cmd *command) setSelftest(s string) error {
	cmd.task, cmd.testNotify = s == "task", s == "notify"
	return config.OneOf("", "task", "notify")(s)
}

// notify checks those that are to be told, without telling them anything.
func (t *selftest) notify() {
	c := t.node.Config
	for _, err := range c.Notify.Unusable() {
		t.fail("notify", "%v (%s)", err, c.Places["notify"])
	}
	for _, name := range notify.Names(&c.Notify) {
		if unusable(&c.Notify, name) {
			continue
		}
		what := name
		if name == "command" {
			what = c.Notify.Command[0]
		}
		undelivered, _ := notify.Undelivered(t.node.State, name)
		switch {
		case len(undelivered) > 0:
			t.fail("notify", "%s", undelivered[0])
		case name == "command" && systemd.Filters("/"):
			t.ok("notify", "%s; %s", what, systemd.NotifyFiltered)
		default:
			t.ok("notify", "%s", what)
		}
	}
}

// unusable reports whether it is known without a call that a recipient cannot be told.
func unusable(c *config.NotifyConfig, name string) bool {
	for _, s := range c.Targets() {
		if s.Name == name {
			return s.Missing != nil
		}
	}
	return c.Read() != nil
}

// runSelftestNotify sends one test notification to each that is to be told. It needs no node.
func runSelftestNotify(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	c, err := config.Read(cmd.config, os.Environ(), cmd.simulate)
	if err != nil {
		return 0, err
	}
	if !c.Notify.Any() {
		return 0, usagef("--selftest=notify: no recipients. fix: add notify to %s", c.File)
	}
	here, _ := os.Hostname()
	here, _, _ = strings.Cut(here, ".")
	t := &selftest{w: con.Stdout}
	for _, name := range notify.Names(&c.Notify) {
		begin := time.Now()
		if err := notify.Test(ctx, &c.Notify, name, cmp.Or(c.Node, here)); err != nil {
			t.fail("notify", "%s: %v", name, err)
			continue
		}
		took := time.Since(begin).Round(time.Millisecond)
		if shut := shutOut(ctx, &c.Notify, name); shut != "" {
			t.fail("notify", "%s has taken a test in %s, but %s", name, took, shut)
			continue
		}
		t.ok("notify", "%s has taken a test in %s", name, took)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if t.failed > 0 {
		return exit.Failed, nil
	}
	return exit.OK, nil
}

// shutOut says which address of a service the installed unit does not let the agent's service speak to; "" where it does.
func shutOut(ctx context.Context, c *config.NotifyConfig, name string) string {
	for _, s := range c.Targets() {
		if s.Name != name {
			continue
		}
		host, _ := hostOf(s)
		for _, addr := range addresses(ctx, host) {
			if !systemd.Allows("/", addr) {
				return fmt.Sprintf("the service's unit does not let it speak to %s (%s). fix: %s", addr, host, systemd.PrintNotify)
			}
		}
	}
	return ""
}

// hostOf is the host of a service without its port, if it is known: the file with its URL may be missing.
func hostOf(s *config.Service) (host string, ok bool) {
	host = s.Host()
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only
	}
	host = strings.Trim(host, "[]")
	return host, s.Type == config.SMTP || s.URL.Reveal() != ""
}

// lookupHost asks for the addresses of a name; a variable for the tests.
var lookupHost = net.DefaultResolver.LookupNetIP

// addresses are those of a host; none where they cannot be found out.
func addresses(ctx context.Context, host string) (all []netip.Addr) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := lookupHost(limited, "ip", host)
	if err != nil {
		return nil
	}
	for _, addr := range found {
		all = append(all, addr.Unmap())
	}
	return all
}
