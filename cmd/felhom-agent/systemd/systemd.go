package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/quote"
)

// Supervisor tells the service manager how we are (sd_notify(3)). Without one, as when somebody runs
// --watch by hand, it tells nobody.
type Supervisor struct {
	watchdog time.Duration // how often the manager wants to hear of us; 0: it does not

	mu     sync.Mutex
	status string // what it was told last
}

func NewSupervisor() *Supervisor {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		every = 0 // meant for another process
	}
	return &Supervisor{watchdog: every}
}

func (s *Supervisor) notify(lines ...string) {
	_ = send(strings.Join(lines, "\n"), managerLimit)
}

// managerLimit is how long a manager may take to hear us. One that hangs never does, and keeps no pass from being made.
const managerLimit = 10 * time.Second

// send tells the manager, where there is one. daemon.SdNotify waits without end where the manager's queue is full.
func send(text string, limit time.Duration) error {
	manager := os.Getenv("NOTIFY_SOCKET")
	if manager == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: manager, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err = conn.SetWriteDeadline(time.Now().Add(limit)); err == nil {
		_, err = conn.Write([]byte(text))
	}
	return err
}

func (s *Supervisor) Ready()    { s.notify(daemon.SdNotifyReady) }
func (s *Supervisor) Stopping() { s.notify(daemon.SdNotifyStopping) }

// Reloading tells that a reload has begun; ready tells its end. The manager wants to know the time of its
// clock, so that it can tell this reload from the one before.
func (s *Supervisor) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return
	}
	s.notify(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Say tells the one line that `systemctl status` shows.
func (s *Supervisor) Say(status string) {
	status, _, _ = strings.Cut(status, "\n")
	status = quote.Line(status)
	s.mu.Lock()
	defer s.mu.Unlock()
	if status != s.status {
		s.status = status
		s.notify("STATUS=" + status)
	}
}

// managerPace is how often the status line is looked at while no pass is made.
const managerPace = 10 * time.Second

// Watch keeps the manager's watchdog quiet while alive says so, and its status line up to date.
func (s *Supervisor) Watch(ctx context.Context, alive func() bool, tell func()) {
	pace := managerPace
	if s.watchdog > 0 {
		pace = min(pace, s.watchdog/3)
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		if s.watchdog > 0 && alive() {
			s.notify(daemon.SdNotifyWatchdog)
		}
		tell()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
