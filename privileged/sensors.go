package privileged

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

const sensorsProgram = "/usr/bin/sensors"

func (s *scene) sensors() (any, error) {
	out, exit, err := s.host.Run(s.ctx, sensorsProgram, []string{"-j"}, nil)
	if err != nil {
		return nil, &FailedError{Op: s.op, Program: sensorsProgram, Reason: err.Error() + ". Install lm-sensors"}
	}
	if exit != 0 && bytes.Contains(out, []byte("No sensors found")) { // as in a virtual machine
		return []Sensor{}, nil
	}
	list, err := parseSensors(out)
	if err != nil {
		return nil, &FailedError{Op: s.op, Program: sensorsProgram, Exit: exit, Reason: err.Error(), Output: tail(string(out), maxTail)}
	}
	return list, nil
}

// A field of a feature is its kind, its number and what is said of it: temp1_crit_alarm.
var sensorField = regexp.MustCompile(`\A(temp|fan|in|power|curr|energy|humidity)[0-9]+_(\w+)\z`)

var sensorUnit = map[string]string{"temp": "°C", "fan": "RPM", "in": "V", "power": "W", "curr": "A", "energy": "J", "humidity": "%"}

// parseSensors reads `sensors -j`: chips, in them features by label, in these their fields. Chips and labels are sorted.
func parseSensors(data []byte) ([]Sensor, error) {
	var chips map[string]map[string]json.RawMessage
	if err := json.Unmarshal(trailingComma.ReplaceAll(data, []byte("$1")), &chips); err != nil {
		return nil, fmt.Errorf("its output is not the expected JSON: %w", err)
	}
	list := []Sensor{}
	for chip, features := range chips {
		for label, raw := range features {
			var fields map[string]float64
			if json.Unmarshal(raw, &fields) != nil {
				continue // "Adapter": "ISA adapter"
			}
			if s, ok := reading(chip, label, fields); ok {
				list = append(list, s)
			}
		}
	}
	slices.SortFunc(list, func(a, b Sensor) int { return cmp.Or(cmp.Compare(a.Chip, b.Chip), cmp.Compare(a.Label, b.Label)) })
	return list, nil
}

// A feature that cannot be read leaves a comma before the closing bracket.
var trailingComma = regexp.MustCompile(`,(\s*[}\]])`)

// reading is the value of a feature with its limits; ok is false when it has none.
func reading(chip, label string, fields map[string]float64) (s Sensor, ok bool) {
	s = Sensor{Chip: chip, Label: label}
	for _, name := range sortedKeys(fields) {
		m := sensorField.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		value := fields[name]
		s.Kind, s.Unit = m[1], sensorUnit[m[1]]
		switch m[2] {
		case "input":
			s.Value, ok = value, true
		case "average":
			if !ok {
				s.Value, ok = value, true
			}
		case "min":
			s.Min = &value
		case "max":
			s.Max = &value
		case "crit":
			s.Crit = &value
		case "alarm", "min_alarm", "max_alarm", "crit_alarm", "lcrit_alarm", "emergency_alarm", "fault":
			s.Alarm = s.Alarm || value != 0
		}
	}
	return s, ok
}
