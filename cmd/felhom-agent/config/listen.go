package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// A ListenAddress is where the agent says what it does: an address of this machine, or a unix socket.
type ListenAddress struct{ Network, Address string }

// ParseListen reads the key `listen`.
func ParseListen(s string) (ListenAddress, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return ListenAddress{}, errors.New("the path of a socket begins with a slash: unix:/run/felhom-agent/http")
		}
		return ListenAddress{"unix", path}, nil
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return ListenAddress{}, errors.New("it is an address of this machine with a port (127.0.0.1:8765, [::1]:8765), or unix:/PATH")
	}
	if !at.Addr().IsLoopback() {
		return ListenAddress{}, fmt.Errorf("%s is reachable from other machines, and the page has no login: listen on 127.0.0.1, and use a web server or `ssh -L`", at.Addr())
	}
	return ListenAddress{"tcp", s}, nil
}

func (a ListenAddress) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return "http://" + a.Address + "/"
}

// ListenPause is how long to wait for an address that another program has.
const ListenPause = 15 * time.Second
