package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// The filter of the service's unit (IPAddressDeny=any, IPAddressAllow=localhost) lets packets of loopback addresses
// pass and drops all others, also those to an address of this machine on its own network. Nobody is told: a
// connection runs into its deadline. A unit with SocketBindDeny or another kernel may answer EPERM instead.

// OpenNetwork are the lines that open the network to the service.
const OpenNetwork = "mkdir -p /etc/systemd/system/felhom-agent.service.d && ln -s /usr/share/felhom-agent/network.conf /etc/systemd/system/felhom-agent.service.d/ && systemctl daemon-reload && systemctl restart felhom-agent"

// NotifyFiltered says what the filter does to the notify command.
const NotifyFiltered = "the service's unit lets the notify command reach loopback addresses alone (SMTP to 127.0.0.1 works). fix: " + OpenNetwork

var found atomic.Bool // it does not go away while a process lives

// LoopbackOnly reports whether this process may speak to loopback addresses alone. It connects to another address of
// this machine, so that nothing leaves it; a machine that has no other address is not told apart.
func LoopbackOnly() bool {
	if found.Load() {
		return true
	}
	for _, documentation := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // RFC 5737, RFC 3849
		// This sends nothing, and shows the address that would be sent from.
		probe, err := net.Dial("udp", documentation)
		if err != nil {
			continue
		}
		own := probe.LocalAddr().(*net.UDPAddr).IP
		probe.Close()
		if !own.IsLoopback() && !own.IsUnspecified() {
			found.Store(dropped(own.String(), net.DialTimeout))
			return found.Load()
		}
	}
	return false
}

// dropped reports whether a connection to an own address is made to wait.
func dropped(address string, dial func(network, address string, timeout time.Duration) (net.Conn, error)) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return false
	}
	defer listener.Close()
	conn, err := dial("tcp", listener.Addr().String(), 500*time.Millisecond) // unhindered it takes microseconds
	if err == nil {
		conn.Close()
		return false
	}
	return silenced(err)
}

// silenced tells errors of a connection to which nothing answers, or that is not allowed.
func silenced(err error) bool {
	var timeout net.Error
	return errors.Is(err, syscall.EPERM) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// filteredError says what the filter did, instead of what it looked like.
type filteredError struct {
	text string
	err  error
}

func (e *filteredError) Error() string { return e.text }
func (e *filteredError) Unwrap() error { return e.err }

// Filtered explains an error of a connection where the unit's address filter is its cause: nothing answers, which
// sends people looking in the wrong place. to is the URL of the node.
func Filtered(err error, to string) error { return filteredBy(err, to, LoopbackOnly) }

func filteredBy(err error, to string, filtered func() bool) error {
	u, parseErr := url.Parse(to)
	if err == nil || parseErr != nil || !silenced(err) || u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback() {
		return err
	}
	if !errors.Is(err, syscall.EPERM) && !filtered() {
		return err
	}
	return &filteredError{fmt.Sprintf("the service's unit drops what is sent to %s: it allows loopback addresses alone (IPAddressDeny). fix: `url: https://127.0.0.1:8006` if the node is this machine; else the drop-in /usr/share/felhom-agent/remote.conf, which says how it is used. The connection itself: %v", u.Hostname(), err), err}
}
