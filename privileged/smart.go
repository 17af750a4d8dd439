package privileged

import (
	"slices"
	"strings"
)

const smartctl = "/usr/sbin/smartctl"

// smart asks the disk itself, and again through SAT when smartctl does not know its USB bridge. A disk that sleeps is left asleep.
func answerSMART(r diskReader) (any, error) {
	device := r.args["device"]
	devices, err := r.host.BlockDevices()
	if err != nil {
		return nil, r.failed(err, "cannot list the block devices")
	}
	if !slices.ContainsFunc(devices, func(d string) bool { return d == device || strings.HasPrefix(d, device) && parent(d) == device }) {
		return nil, r.refuse("device", "there is no such disk", "")
	}
	report, err := r.smartctl(device)
	if err == nil && report.Health == HealthUnknown && slices.ContainsFunc(report.Messages, func(m string) bool { return strings.Contains(m, "Unknown USB bridge") }) {
		if again, err := r.smartctl(device, "--device=sat"); err == nil && again.Health != HealthUnknown {
			return again, nil
		}
	}
	return report, err
}

func (r reader) smartctl(device string, more ...string) (SMARTReport, error) {
	args := append([]string{"--json=o", "--info", "--health", "--attributes", "--nocheck=standby"}, more...)
	args = append(args, device)
	out, exit, err := r.host.Run(r.ctx, smartctl, args, nil)
	if err != nil {
		return SMARTReport{}, &FailedError{Op: r.op, Program: smartctl, Args: args, Reason: err.Error() + ". Install smartmontools"}
	}
	report, err := parseSMART(out)
	if err != nil {
		return SMARTReport{}, &FailedError{Op: r.op, Program: smartctl, Args: args, Exit: exit, Reason: err.Error(), Output: tail(string(out), maxTail)}
	}
	report.Device = device
	return report, nil
}
