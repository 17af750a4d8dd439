package privileged

import (
	"slices"
	"strings"
)

const smartctl = "/usr/sbin/smartctl"

// smart asks the disk itself, and again through SAT when smartctl does not know its USB bridge. A disk that sleeps is left asleep.
func (s *scene) smart() (any, error) {
	device := s.args["device"]
	devices, err := s.host.BlockDevices()
	if err != nil {
		return nil, s.failed(err, "cannot list the block devices")
	}
	if !slices.ContainsFunc(devices, func(d string) bool { return d == device || strings.HasPrefix(d, device) && parent(d) == device }) {
		return nil, s.refuse("device", "there is no such disk", "")
	}
	report, err := s.smartctl(device)
	if err == nil && report.Health == HealthUnknown && slices.ContainsFunc(report.Messages, func(m string) bool { return strings.Contains(m, "Unknown USB bridge") }) {
		if again, err := s.smartctl(device, "--device=sat"); err == nil && again.Health != HealthUnknown {
			return again, nil
		}
	}
	return report, err
}

func (s *scene) smartctl(device string, more ...string) (SMARTReport, error) {
	args := append([]string{"--json=o", "--info", "--health", "--attributes", "--nocheck=standby"}, more...)
	args = append(args, device)
	out, exit, err := s.host.Run(s.ctx, smartctl, args, nil)
	if err != nil {
		return SMARTReport{}, &FailedError{Op: s.op, Program: smartctl, Args: args, Reason: err.Error() + ". Install smartmontools"}
	}
	report, err := parseSMART(out)
	if err != nil {
		return SMARTReport{}, &FailedError{Op: s.op, Program: smartctl, Args: args, Exit: exit, Reason: err.Error(), Output: tail(string(out), maxTail)}
	}
	report.Device = device
	return report, nil
}
