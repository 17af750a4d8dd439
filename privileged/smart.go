package privileged

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	args := append([]string{"--json", "--info", "--health", "--attributes", "--nocheck=standby"}, more...)
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

// parseSMART reads `smartctl --json`. Its exit code is a set of bits of which most are also in the JSON; the JSON is whole whatever it is.
func parseSMART(data []byte) (SMARTReport, error) {
	var in struct {
		Smartctl *struct {
			ExitStatus int `json:"exit_status"`
			Messages   []struct {
				String string `json:"string"`
			} `json:"messages"`
		} `json:"smartctl"`
		Device struct {
			Protocol string `json:"protocol"`
		} `json:"device"`
		ModelName     string `json:"model_name"`
		ScsiModelName string `json:"scsi_model_name"`
		SerialNumber  string `json:"serial_number"`
		SmartStatus   *struct {
			Passed *bool `json:"passed"`
		} `json:"smart_status"`
		Temperature *struct {
			Current *int64 `json:"current"`
		} `json:"temperature"`
		PowerOnTime *struct {
			Hours *int64 `json:"hours"`
		} `json:"power_on_time"`
		Endurance *struct {
			Used *int64 `json:"current_percent"`
		} `json:"endurance_used"`
		GrownDefects *int64 `json:"scsi_grown_defect_list"`
		ATA          struct {
			Table []ataAttribute `json:"table"`
		} `json:"ata_smart_attributes"`
		NVMe *struct {
			PercentageUsed *int64 `json:"percentage_used"`
			MediaErrors    *int64 `json:"media_errors"`
			PowerOnHours   *int64 `json:"power_on_hours"`
			Temperature    *int64 `json:"temperature"`
		} `json:"nvme_smart_health_information_log"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(data), &in); err != nil {
		return SMARTReport{}, fmt.Errorf("its output is not the expected JSON: %w", err)
	}
	if in.Smartctl == nil {
		return SMARTReport{}, fmt.Errorf("its output is not the expected JSON: there is no smartctl in it")
	}
	r := SMARTReport{Protocol: in.Device.Protocol, Model: in.ModelName, Serial: in.SerialNumber, Health: HealthUnknown}
	if r.Model == "" {
		r.Model = in.ScsiModelName
	}
	for _, m := range in.Smartctl.Messages {
		r.Messages = append(r.Messages, printable(m.String))
	}
	if in.SmartStatus != nil && in.SmartStatus.Passed != nil {
		r.Health = HealthPassed
		if !*in.SmartStatus.Passed {
			r.Health = HealthFailing
		}
	}
	if in.Smartctl.ExitStatus&8 != 0 { // "SMART status check returned DISK FAILING" (smartctl(8), EXIT STATUS)
		r.Health = HealthFailing
	}
	if in.Temperature != nil {
		r.Temperature = in.Temperature.Current
	}
	if in.PowerOnTime != nil {
		r.Hours = in.PowerOnTime.Hours
	}
	if in.Endurance != nil {
		r.Wear = in.Endurance.Used
	}
	r.Reallocated = in.GrownDefects
	if n := in.NVMe; n != nil {
		r.Wear, r.Uncorrectable = n.PercentageUsed, n.MediaErrors
		if r.Hours == nil {
			r.Hours = n.PowerOnHours
		}
		if r.Temperature == nil {
			r.Temperature = n.Temperature
		}
	}
	for _, a := range in.ATA.Table {
		a.into(&r)
	}
	return r, nil
}

// ataAttribute is a line of the table of an ATA disk. What an id means is the maker's choice; those taken here are common to all.
type ataAttribute struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Value int64  `json:"value"` // normalized: of wear the percentage of life that is left
	Raw   struct {
		Value int64 `json:"value"`
	} `json:"raw"`
}

func (a ataAttribute) into(r *SMARTReport) {
	raw := a.Raw.Value
	switch a.ID {
	case 5:
		r.Reallocated = &raw
	case 197:
		r.Pending = &raw
	case 198:
		r.Uncorrectable = &raw
	}
	switch a.Name {
	case "Wear_Leveling_Count", "SSD_Life_Left", "Media_Wearout_Indicator", "Percent_Lifetime_Remain":
		if used := 100 - a.Value; r.Wear == nil && used >= 0 && used <= 100 {
			r.Wear = &used
		}
	}
}
