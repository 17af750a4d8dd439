package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
	"github.com/felhom/felhom-agent/quote"
)

// printNotifySetup prints the drop-in of the service's unit that opens exactly what notify names.
func printNotifySetup(ctx context.Context, cmd *command, con *console.Console) error {
	c, err := config.Read(cmd.config, os.Environ(), cmd.simulate)
	if err != nil {
		return err
	}
	resolvers, _ := os.ReadFile("/etc/resolv.conf") // without one, names are asked for on this machine
	return writeNotifySetup(ctx, con.Stdout, &c.Notify, string(resolvers))
}

func writeNotifySetup(ctx context.Context, w io.Writer, c *config.NotifyConfig, resolvers string) error {
	if len(c.Targets()) == 0 {
		return usagef("--print-setup --notify is for notify.services and notify.ping, and there are none. For a command: /usr/share/felhom-agent/network.conf")
	}
	quote.Fprintf(w, `# Lets the service reach what notify in agent.yaml names, and nothing else. As root:
#   mkdir -p /etc/systemd/system/felhom-agent.service.d
#   %s
# systemd takes addresses, not names. Print it again after a change of notify, or when a host has another address;
# felhom-agent --selftest=notify says when it has.
`, quote.Own(systemd.PrintNotify))
	if len(c.Command) > 0 {
		fmt.Fprintln(w, "# What the command needs is not known: see /usr/share/felhom-agent/network.conf.")
	}
	fmt.Fprintln(w, "[Service]")
	names, incomplete := false, error(nil)
	done := map[string]bool{}
	for _, s := range c.Targets() {
		for _, file := range s.Files {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				quote.Fprintf(w, "# %s: %s does not exist: put the secret there, and print this again\n", s.Name, file)
			} else if !done[file] {
				done[file] = true
				quote.Fprintf(w, "LoadCredential=%s:%s\n", config.Credential(file), file)
			}
		}
		host, known := hostOf(s)
		if !known {
			quote.Fprintf(w, "# %s: its address is not known: %s\n", s.Name, s.Missing)
			incomplete = errors.Join(incomplete, fmt.Errorf("%s: %w", s.Name, s.Missing))
			continue
		}
		_, literal := netip.ParseAddr(host)
		names = names || literal != nil && host != "localhost"
		all := addresses(ctx, host)
		if len(all) == 0 {
			quote.Fprintf(w, "# %s: %s has no address now\n", s.Name, host)
			incomplete = errors.Join(incomplete, fmt.Errorf("%s: %s has no address now: check the name, and print this again", s.Name, host))
		}
		allow(w, s.Name+": "+host, all)
	}
	if names {
		allow(w, "DNS, as /etc/resolv.conf says", nameservers(resolvers))
	}
	return incomplete
}

// allow prints the lines that open addresses; those of this machine are open.
func allow(w io.Writer, why string, all []netip.Addr) {
	all = slices.DeleteFunc(slices.Clone(all), netip.Addr.IsLoopback)
	slices.SortFunc(all, netip.Addr.Compare)
	if all = slices.Compact(all); len(all) == 0 {
		return
	}
	quote.Fprintf(w, "# %s\n", why)
	for _, addr := range all {
		fmt.Fprintf(w, "IPAddressAllow=%s\n", addr.WithZone(""))
	}
}

// nameservers are the addresses that a resolv.conf names.
func nameservers(text string) (all []netip.Addr) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" {
			if addr, err := netip.ParseAddr(words[1]); err == nil {
				all = append(all, addr.Unmap())
			}
		}
	}
	return all
}
