package privileged

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// smartJSON is what is read of `smartctl --json=o`. Each value is read for itself: one that makes no sense is left out.
type smartJSON struct {
	Smartctl *struct {
		ExitStatus whole    `json:"exit_status"`
		Output     []string `json:"output"` // what it prints without --json
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
	SmartStatus   struct {
		Passed verdict `json:"passed"`
	} `json:"smart_status"`
	Temperature struct {
		Current whole `json:"current"`
	} `json:"temperature"`
	PowerOnTime struct {
		Hours whole `json:"hours"`
	} `json:"power_on_time"`
	Endurance struct {
		Used whole `json:"current_percent"`
	} `json:"endurance_used"`
	GrownDefects whole `json:"scsi_grown_defect_list"`
	ATA          struct {
		Table []ataAttribute `json:"table"`
	} `json:"ata_smart_attributes"`
	NVMe struct {
		PercentageUsed whole `json:"percentage_used"`
		MediaErrors    whole `json:"media_errors"`
		PowerOnHours   whole `json:"power_on_hours"`
		Temperature    whole `json:"temperature"`
	} `json:"nvme_smart_health_information_log"`
}

// whole is a whole number, or nil where the JSON has anything else: firmware counts in 128 bits, and has nonsense in all of them.
type whole struct{ n *int64 }

func (w *whole) UnmarshalJSON(data []byte) error {
	if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		w.n = &n
	}
	return nil
}

// verdict is true, false, or nil where the JSON has anything else.
type verdict struct{ yes *bool }

func (v *verdict) UnmarshalJSON(data []byte) error {
	if yes, err := strconv.ParseBool(string(data)); err == nil && len(data) >= len("true") {
		v.yes = &yes
	}
	return nil
}

// parseSMART reads what smartctl printed. Its exit code is a set of bits of which most are also in the JSON; the JSON is whole whatever it is. What stands
// around the JSON, or in its text form alone, is a message. Where the JSON is cut off or damaged, what can be read of it counts.
func parseSMART(data []byte) (SMARTReport, error) {
	object, around := jsonIn(data)
	var in smartJSON
	err := json.Unmarshal(mend(object), &in)
	if kind := new(json.UnmarshalTypeError); errors.As(err, &kind) {
		err = nil // of that one value; all others were read
	}
	r := SMARTReport{Health: HealthUnknown}
	if err != nil || in.Smartctl == nil {
		if r.Health = saidHealth(string(data)); r.Health == HealthUnknown {
			return SMARTReport{}, fmt.Errorf("its output is not the expected JSON: %w", cmpErr(err, errors.New("there is no smartctl in it")))
		}
		r.say("the report of smartctl is incomplete")
		return r, nil
	}
	if in.fill(&r); r.Health == HealthUnknown && in.Smartctl.ExitStatus.n == nil && r.Model == "" && r.Protocol == "" {
		return SMARTReport{}, errors.New("its output is not the expected JSON: nothing in it can be read")
	}
	for line := range strings.SplitSeq(around, "\n") {
		r.say(line)
	}
	return r, nil
}

func (in *smartJSON) fill(r *SMARTReport) {
	r.Protocol, r.Model, r.Serial = printable(in.Device.Protocol), printable(in.ModelName), printable(in.SerialNumber)
	if r.Model == "" {
		r.Model = printable(in.ScsiModelName)
	}
	for _, m := range in.Smartctl.Messages {
		r.say(m.String)
	}
	for _, line := range in.Smartctl.Output {
		if textOnly.MatchString(line) {
			r.say(strings.TrimPrefix(line, "- "))
		}
	}
	switch passed := in.SmartStatus.Passed.yes; {
	case passed != nil && *passed:
		r.Health = HealthPassed
	case passed != nil:
		r.Health = HealthFailing
	default:
		r.Health = saidHealth(strings.Join(in.Smartctl.Output, "\n"))
	}
	if status := in.Smartctl.ExitStatus.n; status != nil && *status&8 != 0 { // "SMART status check returned DISK FAILING" (smartctl(8), EXIT STATUS)
		r.Health = HealthFailing
	}
	nvme := in.NVMe
	r.Temperature, r.Hours = first(in.Temperature.Current, nvme.Temperature), first(in.PowerOnTime.Hours, nvme.PowerOnHours)
	r.Wear, r.Uncorrectable = first(nvme.PercentageUsed, in.Endurance.Used), nvme.MediaErrors.n
	r.Reallocated = in.GrownDefects.n
	for _, a := range in.ATA.Table {
		a.into(r)
	}
}

// say adds a message once.
func (r *SMARTReport) say(text string) {
	if text = printable(text); text != "" && !slices.Contains(r.Messages, text) && len(r.Messages) < maxMessages {
		r.Messages = append(r.Messages, text)
	}
}

const maxMessages = 20

func first(values ...whole) *int64 {
	for _, v := range values {
		if v.n != nil {
			return v.n
		}
	}
	return nil
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// textOnly are lines of the text form that say what the JSON does not: why an NVMe disk fails, a disk that sleeps, a bridge or firmware that is known to
// be bad (smartctl 7.4, printed by jout without a JSON key).
var textOnly = regexp.MustCompile(`\A(- (available spare|temperature is|device reliability|NVM subsystem|media has been|volatile memory|persistent memory).*|` +
	`(?i:=+> WARNING|warning|Device is in [A-Z ]+ mode|SMART (support is: *Unavailable|Status (command failed|not supported)|Disabled)|.*Unknown USB bridge).*)\z`)

// The verdict of the text form, ATA and NVMe or SCSI, and of JSON that is cut off.
var (
	saysPassed  = regexp.MustCompile(`self-assessment test result: PASSED|SMART Health Status: OK|"passed":\s*true\b`)
	saysFailing = regexp.MustCompile(`self-assessment test result: FAILED|SMART Health Status: (FAIL|.*FAILURE)|"passed":\s*false\b`)
)

// saidHealth is the verdict in a text; a disk of which it says both is failing.
func saidHealth(text string) Health {
	switch {
	case saysFailing.MatchString(text):
		return HealthFailing
	case saysPassed.MatchString(text):
		return HealthPassed
	}
	return HealthUnknown
}

// jsonIn finds the JSON object in what a program printed, from a line that begins with a brace to the last brace, and what stands around it.
func jsonIn(data []byte) (object []byte, around string) {
	begin := 0
	if !bytes.HasPrefix(data, []byte("{")) {
		begin = bytes.Index(data, []byte("\n{")) + 1
		if begin == 0 {
			return bytes.TrimSpace(data), ""
		}
	}
	end := bytes.LastIndexByte(data, '}') + 1
	if end <= begin {
		end = len(data)
	}
	return data[begin:end], string(data[:begin]) + "\n" + string(data[end:])
}

// notJSON are what printf makes of numbers that are none, in the place of a value; a comma before a closing bracket is what a value that could not be
// read leaves behind.
var (
	notJSON       = regexp.MustCompile(`(?i)([:\[,]\s*)[-+]?(?:nan(?:\([0-9a-z_]*\))?|inf(?:inity)?)(\s*[,}\]])`)
	trailingComma = regexp.MustCompile(`,(\s*[}\]])`)
	stringLine    = regexp.MustCompile(`(?m)^(\s*(?:"\w+"\s*:\s*)?)"(.*)"(,?)\s*$`)
)

// mend makes JSON of what is nearly JSON: numbers that are none, and a quote or a backslash in a string of a line of its own. Text that stands in quotes may be changed by it, too.
func mend(data []byte) []byte {
	if json.Valid(data) {
		return data
	}
	data = stringLine.ReplaceAllFunc(data, func(line []byte) []byte {
		m := stringLine.FindSubmatch(line)
		if m == nil || json.Valid(fmt.Appendf(nil, `"%s"`, m[2])) {
			return line
		}
		text, _ := json.Marshal(string(m[2])) // of a string that never fails
		return slices.Concat(m[1], text, m[3])
	})
	return trailingComma.ReplaceAll(notJSON.ReplaceAll(data, []byte("${1}null$2")), []byte("$1"))
}

// ataAttribute is a line of the table of an ATA disk. What an id means is the maker's choice; those taken here are common to all.
type ataAttribute struct {
	ID    whole  `json:"id"`
	Name  string `json:"name"`
	Value whole  `json:"value"` // normalized: of wear the percentage of life that is left
	Raw   struct {
		Value whole `json:"value"`
	} `json:"raw"`
}

func (a ataAttribute) into(r *SMARTReport) {
	if a.ID.n == nil {
		return
	}
	switch raw := a.Raw.Value.n; *a.ID.n {
	case 5:
		r.Reallocated = raw
	case 197:
		r.Pending = raw
	case 198:
		r.Uncorrectable = raw
	}
	switch a.Name {
	case "Wear_Leveling_Count", "SSD_Life_Left", "Media_Wearout_Indicator", "Percent_Lifetime_Remain":
		if left := a.Value.n; r.Wear == nil && left != nil && *left >= 0 && *left <= 100 {
			used := 100 - *left
			r.Wear = &used
		}
	}
}
