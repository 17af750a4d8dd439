package privileged

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const sensorsProgram = "/usr/bin/sensors"

func answerSensors(r diskReader) (any, error) {
	out, exit, err := r.host.Run(r.ctx, sensorsProgram, []string{"-j"}, nil)
	if err != nil {
		return nil, &FailedError{Op: r.op, Program: sensorsProgram, Reason: err.Error() + ". Install lm-sensors"}
	}
	if exit != 0 && bytes.Contains(out, []byte("No sensors found")) { // as in a virtual machine
		return []Sensor{}, nil
	}
	list, err := parseSensors(out)
	if err != nil {
		return nil, &FailedError{Op: r.op, Program: sensorsProgram, Exit: exit, Reason: err.Error(), Output: tail(string(out), maxTail)}
	}
	return list, nil
}

// A field of a feature is its kind, its number and what is said of it: temp1_crit_alarm.
var sensorField = regexp.MustCompile(`\A((temp|fan|in|power|curr|energy|humidity)[0-9]+)_(\w+)\z`)

var sensorUnit = map[string]string{"temp": "°C", "fan": "RPM", "in": "V", "power": "W", "curr": "A", "energy": "J", "humidity": "%"}

// feature is a label of a chip with its fields, as they stand in the output.
type feature struct {
	chip, label string
	fields      []field
}

type field struct{ name, value string }

// parseSensors reads `sensors -j`: chips, in them features by label, in these their fields. Chips and labels are sorted. A value that is no number is left
// out; of features of one chip that bear one label each is named by its place, too: "Tctl (temp2)".
func parseSensors(data []byte) ([]Sensor, error) {
	features, err := featuresOf(data)
	if err != nil {
		return nil, err
	}
	type key struct{ chip, label string }
	times := map[key]int{}
	for _, f := range features {
		times[key{f.chip, f.label}]++
	}
	list := []Sensor{}
	for _, f := range features {
		s, place, ok := f.reading()
		if times[key{f.chip, f.label}] > 1 && place != "" {
			s.Label += " (" + place + ")"
		}
		if ok {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Sensor) int { return cmp.Or(cmp.Compare(a.Chip, b.Chip), cmp.Compare(a.Label, b.Label)) })
	return list, nil
}

// reading is the value of a feature with its limits, and its place on the chip, such as temp2; ok is false when it has no value.
func (f feature) reading() (s Sensor, place string, ok bool) {
	s = Sensor{Chip: f.chip, Label: f.label}
	average := false
	for _, field := range f.fields {
		m := sensorField.FindStringSubmatch(field.name)
		value, err := strconv.ParseFloat(field.value, 64)
		if m == nil {
			continue
		}
		place, s.Kind, s.Unit = m[1], m[2], sensorUnit[m[2]]
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			continue
		}
		switch m[3] {
		case "input":
			s.Value, ok, average = value, true, false
		case "average":
			if !ok || average {
				s.Value, ok, average = value, true, true
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
	return s, place, ok
}

// The lines of `sensors -j`, which does not escape what stands in its quotes.
var (
	sensorOpens = regexp.MustCompile(`\A\{?\s*"(.*)"\s*:\s*\{\s*(\}?),?\z`)
	sensorValue = regexp.MustCompile(`\A"(\w+)"\s*:\s*([^\s"]+?),?\z`)
)

// featuresOf reads the output line by line, as `sensors` prints it; what is JSON in another layout is laid out so first. That it is no JSON costs nothing
// then: a quote in a label, a value that is none, a comma too many.
func featuresOf(data []byte) (features []feature, err error) {
	if json.Valid(data) {
		var laid bytes.Buffer
		if err := json.Indent(&laid, bytes.TrimSpace(data), "", " "); err != nil {
			return nil, err
		}
		data = laid.Bytes()
	}
	text := strings.TrimSpace(string(data))
	if !strings.HasPrefix(text, "{") {
		return nil, errors.New("its output is not the expected JSON: it does not begin with a brace")
	}
	chip, depth := "", 1
	for line := range strings.SplitSeq(text[1:], "\n") {
		line = strings.TrimSpace(line)
		opens, value := sensorOpens.FindStringSubmatch(line), sensorValue.FindStringSubmatch(line)
		switch {
		case opens != nil && opens[2] == "}": // nothing in it
		case opens != nil && depth == 1:
			chip, depth = printable(opens[1]), 2
		case opens != nil && depth == 2:
			features, depth = append(features, feature{chip: chip, label: printable(opens[1])}), 3
		case opens != nil:
			depth++
		case value != nil && depth == 3:
			last := &features[len(features)-1]
			last.fields = append(last.fields, field{value[1], value[2]})
		case strings.HasPrefix(line, "}"):
			depth -= strings.Count(line, "}")
		}
		if len(features) > maxFeatures {
			return nil, fmt.Errorf("its output has more than %d features", maxFeatures)
		}
	}
	if depth > 0 && len(features) == 0 {
		return nil, errors.New("its output is not the expected JSON")
	}
	return features, nil
}

const maxFeatures = 10_000
