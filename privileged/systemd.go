package privileged

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// systemdSocket is where systemd as the first process of a system is asked by root of that system.
const systemdSocket = "/run/systemd/private"

var errNoSystemd = errors.New("its init is not systemd")

const manager = "org.freedesktop.systemd1.Manager"

// askSystemd answers the probes of the system and of a unit.
func (c *inside) askSystemd(ctx context.Context, ask map[string]string) (map[string]string, error) {
	b, closing, err := c.systemd(ctx)
	if err != nil {
		return unanswered(err)
	}
	defer closing()
	if ask["what"] == "unit" {
		state, err := b.stateOf(ask["name"])
		if err != nil {
			return unanswered(err)
		}
		return map[string]string{"state": state}, nil
	}
	state, err := b.systemState()
	if err != nil {
		return unanswered(err)
	}
	failed, err := b.unitsThatAre("failed")
	if err != nil {
		return unanswered(err)
	}
	found := map[string]string{"state": state}
	if len(failed) > 0 {
		found["failed"] = strings.Join(failed, " ")
	}
	return found, nil
}

// unanswered is the answer where systemd gave none: what is the container's doing is a "no".
func unanswered(err error) (map[string]string, error) {
	if errors.Is(err, errNoSystemd) {
		return nothing(err), nil
	}
	if found, err := refusedBy(err); err == nil {
		return found, nil
	}
	return nil, err
}

// activeServices are the services that are active, by name.
func (c *inside) activeServices(ctx context.Context) ([]string, error) {
	b, closing, err := c.systemd(ctx)
	if err != nil {
		return nil, err
	}
	defer closing()
	units, err := b.unitsThatAre("active")
	return slices.DeleteFunc(units, func(name string) bool { return !strings.HasSuffix(name, ".service") }), err
}

// systemd connects to the service manager of a container. It answers the container's root alone, and only where that is a process of the container as the
// kernel tells it (SO_PEERCRED: of a process outside it sees the number 0, and hangs up). So a child of this process in the container's process namespace
// connects as the container's root, which is less than root of the host, and ends; the connection is ours. No program runs in the container.
func (c *inside) systemd(ctx context.Context) (*bus, func(), error) {
	handle, err := c.find(systemdSocket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil, errNoSystemd
	}
	if err != nil {
		return nil, nil, err
	}
	defer handle.Close()
	if _, err := stored(handle, syscall.S_IFSOCK); err != nil {
		return nil, nil, err
	}
	user, err := c.rootUser()
	if err != nil {
		return nil, nil, err
	}
	processes, err := c.entry("ns/pid", syscall.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	defer processes.Close()
	fd, err := apart(func() (int, error) {
		if _, _, errno := syscall.RawSyscall(sysSetns, processes.Fd(), cloneNewPID, 0); errno != 0 { // of children
			return -1, fmt.Errorf("cannot enter its processes: %w", errno)
		}
		// By the handle, not by a path: a link in the container would lead through the host.
		return connectAs(user, "/proc/self/fd/"+strconv.Itoa(int(handle.Fd())))
	})
	if err != nil {
		return nil, nil, err
	}
	socket, err := connected(ctx, fd)
	if err != nil {
		return nil, nil, err
	}
	b, err := newBus(socket)
	if err != nil {
		socket.Close()
		return nil, nil, err
	}
	return b, func() { socket.Close() }, nil
}

// rootUser is the user of the host that is root in the container: 100000 of an unprivileged one.
func (c *inside) rootUser() (uint32, error) {
	text, err := c.text("uid_map") // INSIDE OUTSIDE COUNT
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "0" {
			user, err := strconv.ParseUint(f[1], 10, 32)
			return uint32(user), err
		}
	}
	return 0, errors.New("it has no root: " + strconv.Quote(clip(text, 80)))
}

// systemState is what systemctl is-system-running says: initializing, starting, running, degraded, maintenance, stopping.
func (b *bus) systemState() (string, error) {
	var body busWriter
	body.text(manager)
	body.text("SystemState")
	r, err := b.call("org.freedesktop.DBus.Properties", "Get", "ss", body, "v")
	if err != nil {
		return "", err
	}
	if r.signed() != "s" {
		return "", errBus
	}
	state := r.text()
	if r.bad {
		return "", errBus
	}
	return clip(printable(state), 40), nil
}

// unitsThatAre are the units in a state, by name.
func (b *bus) unitsThatAre(state string) ([]string, error) {
	var body busWriter
	body.texts([]string{state})
	r, err := b.call(manager, "ListUnitsFiltered", "as", body, unitListType)
	if err != nil {
		return nil, err
	}
	var names []string
	err = r.units(func(name, active string) {
		if active == state && unitName(name) == "" && len(names) < 1000 {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names, err
}

// stateOf is the state of one unit: active, inactive, failed, activating …; inactive where there is none.
func (b *bus) stateOf(unit string) (string, error) {
	var body busWriter
	body.texts([]string{unit})
	r, err := b.call(manager, "ListUnitsByNames", "as", body, unitListType)
	if err != nil {
		return "", err
	}
	state := "inactive"
	err = r.units(func(name, active string) {
		if name == unit {
			state = clip(printable(active), 40)
		}
	})
	return state, err
}

// unitListType is a list of units: name first, the active state fourth.
const unitListType = "a(ssssssouso)"

// units reads a list of units.
func (r *busReader) units(each func(name, active string)) error {
	length := r.number()
	r.align(8)
	end := r.at + int(length)
	for !r.bad && r.at < end {
		r.align(8)
		name := r.text()
		r.text()
		r.text()
		active := r.text()
		r.text()
		r.text()
		r.text() // object path
		r.number()
		r.text()
		r.text()
		if !r.bad {
			each(name, active)
		}
	}
	if r.bad || end > len(r.data) {
		return errBus
	}
	return nil
}
