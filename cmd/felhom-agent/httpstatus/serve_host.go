package httpstatus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/privileged"
)

// Hardware is what the host tells of its disks and sensors. Without a way to ask root it is what PVE's API tells
// of the health of disks, and Missing says why there is no more.
type Hardware struct {
	Looked  time.Time                `json:"refreshed,omitzero"` // by this machine's clock
	Disks   []privileged.Disk        `json:"disks"`              // file systems
	SMART   []privileged.SMARTReport `json:"smart"`              // whole disks
	Sensors []privileged.Sensor      `json:"sensors"`
	Missing []string                 `json:"missing,omitempty"` // what could not be seen, and why
}

func (o *Observer) readHardware(ctx context.Context) (h Hardware, whole bool) {
	o.Mu.Lock()
	ask, node := o.Node.Runner, o.name
	o.Mu.Unlock()
	h = Hardware{Disks: []privileged.Disk{}, SMART: []privileged.SMARTReport{}, Sensors: []privileged.Sensor{}}
	switch {
	case node == "":
		return h, false // not found yet
	case ask == nil:
		h.Missing = append(h.Missing, "file systems, temperatures and USB disks are read via the root helper, which is missing: "+o.NoFence)
		return readDisks(ctx, o.Node, node, h), true
	}
	h.Looked = time.Now().Truncate(time.Second)
	miss := func(what string, err error) { h.Missing = append(h.Missing, what+": "+err.Error()) }
	disks, err := privileged.Disks(ctx, ask, node)
	if err != nil {
		miss("disks", err)
	}
	h.Disks = append(h.Disks, disks...)
	var devices []string
	for _, d := range disks {
		if d.Parent != "" && !slices.Contains(devices, d.Parent) {
			devices = append(devices, d.Parent)
		}
	}
	for _, device := range devices {
		report, err := privileged.SMART(ctx, ask, node, device)
		if err != nil {
			miss(device, err)
			continue
		}
		h.SMART = append(h.SMART, report)
	}
	sensors, err := privileged.Sensors(ctx, ask, node)
	if err != nil {
		miss("sensors", err)
	}
	h.Sensors = append(h.Sensors, sensors...)
	return h, true
}

// lookDisks asks the API what the disks say of their health: without numbers, little of USB disks, and for seconds of
// PVE's time, so only where there is no fence.
func readDisks(ctx context.Context, n *session.Session, node string, h Hardware) Hardware {
	h.Looked = time.Now().Truncate(time.Second)
	disks, err := n.Client.Read().Disks(ctx, node)
	if err != nil {
		h.Missing = append(h.Missing, "disks: "+n.Explain(err).Error())
	}
	for _, d := range disks {
		report := privileged.SMARTReport{Device: d.Device, Model: d.Model, Serial: d.Serial, Health: privileged.HealthUnknown}
		switch {
		case d.Health == "PASSED":
			report.Health = privileged.HealthPassed
		case strings.HasPrefix(d.Health, "FAIL"):
			report.Health = privileged.HealthFailing
		}
		h.SMART = append(h.SMART, report)
	}
	return h
}

// Aged keeps something that is dear to look at until it is old. It is looked at when somebody asks, by one
// at a time.
type Aged[T any] struct {
	Read      func(context.Context) (T, bool) // false: it was not whole, and is worth looking again soon
	Good, Bad time.Duration                   // how long a look is believed
	Limit     time.Duration                   // how long one may take

	mu    sync.Mutex
	value T
	until time.Time
}

func (a *Aged[T]) Now(ctx context.Context) T {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.until) {
		return a.value
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Limit)
	defer cancel()
	value, whole := a.Read(ctx)
	a.value, a.until = value, time.Now().Add(a.Bad)
	if whole {
		a.until = time.Now().Add(a.Good)
	}
	return a.value
}
