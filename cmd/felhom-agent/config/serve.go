package config

import (
	"fmt"
	"net"
	"os"
	"time"
)

// Listen opens the address. The socket of an agent that was killed is taken away; one behind which somebody
// answers is not.
func (a ListenAddress) Listen() (net.Listener, error) {
	if a.Network == "unix" {
		if conn, err := net.DialTimeout("unix", a.Address, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: another process answers there", a)
		}
		if info, err := os.Lstat(a.Address); err == nil && info.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(a.Address) // if it stays, listening says why
		}
	}
	listener, err := net.Listen(a.Network, a.Address)
	if err != nil || a.Network != "unix" {
		return listener, err
	}
	if err := os.Chmod(a.Address, 0o660); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}
