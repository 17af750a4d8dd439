package export

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Text prints the export: its head, then one object per guest, those that are not
// taken over as comments.
func (x *Exporter) Text(proof string) string {
	var b strings.Builder
	comment := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
		b.WriteString(strings.TrimRight("# "+indent+oneLine(text), " ") + "\n")
	}
	comment("The %s of %s, PVE %s, as they were on %s.", nouns(x.guests), x.Source.Node, x.have.Version, x.have.Now.Format("Mon 2 Jan 2006 15:04:05 MST"))
	if missing := x.missing(); len(missing) > 0 {
		comment("MISSING, and only comments below:")
		for _, text := range missing {
			comment("  %s", text)
		}
	}
	if len(x.unseen) == 0 {
		comment("Complete: the token has VM.Audit on /vms, and PVE has no guest at any of %d other numbers that it was asked for.", x.asked)
	} else {
		comment("NOT COMPLETE. The token could not see:")
		for _, text := range x.unseen {
			comment("  %s", text)
		}
	}
	if proof != "" {
		comment("%s", proof)
	}
	comment("Changes made elsewhere are only reported here, until a guest says drift: heal.")
	if len(x.eye)+len(x.stray) > 0 {
		comment("")
		comment("What needs an eye:")
		for _, text := range slices.Concat(x.eye, x.stray) {
			comment("  %s", text)
		}
	}
	b.WriteString("\n")
	if x.cluster {
		fmt.Fprintf(&b, "node: %s\n\n", x.Source.Node)
	}
	if x.count() == 0 {
		comment("There is no container here to adopt.")
	} else {
		b.WriteString("guests:\n")
	}
	for i, e := range x.guests {
		if i > 0 {
			b.WriteString("\n")
		}
		text := x.guest(e)
		if e.aside != "" {
			for line := range strings.Lines(text) {
				b.WriteString("  # " + strings.TrimPrefix(line, "  "))
			}
			continue
		}
		b.WriteString(text)
	}
	return b.String()
}

// nouns is what the guests are: containers, or VMs too.
func nouns(guests []*exported) string {
	if slices.ContainsFunc(guests, func(e *exported) bool { return e.state.Type.VM() }) {
		return "containers and VMs"
	}
	return "containers"
}

// guest prints one guest: what is compared, and below it the rest as comments.
func (x *Exporter) guest(e *exported) string {
	var b strings.Builder
	config, vmid := e.state.Config, e.state.VMID
	fmt.Fprintf(&b, "  %s:\n    vmid: %d\n%s", ScalarText(e.name), vmid, map[bool]string{true: "    type: vm\n"}[e.state.Type.VM()])
	if name := config.Hostname(); !strings.EqualFold(name, e.name) && name != "" {
		fmt.Fprintf(&b, "    is: %s\n", ScalarText(name))
	}
	if archives := x.archives[vmid]; len(archives) > 0 {
		fmt.Fprintf(&b, "    from: {newest: %s}   # %s of it, the newest of %s\n", ScalarText(text.ProxmoxStorage(archives[0].VolID)),
			text.Count(len(archives), "backup", "backups"), x.have.Date(archives[0].CTime))
	}
	if e.state.HA != "" {
		fmt.Fprintf(&b, "    # state: %s   (HA decides)\n", e.state.Status)
	} else {
		fmt.Fprintf(&b, "    state: %s\n", e.state.Status)
	}
	if x.Source.Drift == spec.DriftHeal {
		b.WriteString("    drift: report\n")
	}
	declared := declaredConfig(config)
	var lines, rest []string
	for _, key := range slices.SortedFunc(maps.Keys(declared), compare.CompareKeys) {
		line := fmt.Sprintf("%s: %s", key, declared[key])
		if _, no := x.refused[vmid][key]; no {
			rest = append(rest, line)
			continue
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		b.WriteString("    config:\n")
		for _, line := range lines {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(config.Raw), compare.CompareKeys) {
		value := config.Raw[key]
		switch key {
		case "hostname", "name", "template", "lock", "snapstate", "snaptime":
			continue
		case "env", "cipassword":
			value = "(not shown: it may hold passwords)"
		case "description":
			if value = marker.WithoutMarker(config.Description()); value == "" {
				continue
			}
			value = questions.FirstLine(value)
		}
		if _, told := declared[key]; !told || strings.HasPrefix(key, "net") {
			rest = append(rest, fmt.Sprintf("%s: %s", key, value))
		}
	}
	for _, line := range config.LXC {
		rest = append(rest, fmt.Sprintf("%s: %s", line[0], line[1]))
	}
	for _, line := range rest {
		fmt.Fprintf(&b, "    # %s\n", oneLine(line))
	}
	return b.String()
}

// declaredConfig is the short config that an export declares: what people change.
func declaredConfig(config *proxmox.GuestConfig) map[string]string {
	declared := map[string]string{}
	for _, key := range []string{"cores", "sockets", "cpulimit", "cpuunits"} {
		if value := config.Raw[key]; value != "" {
			declared[key] = ScalarText(value)
		}
	}
	if agent, err := proxmox.ParseAgent(config.Raw["agent"]); err == nil && config.Type.VM() {
		declared["agent"] = strconv.FormatBool(agent["enabled"] == "1")
	}
	for _, key := range []string{"memory", "swap", "balloon"} {
		n, err := strconv.ParseInt(strings.TrimPrefix(config.Raw[key], "current="), 10, 64)
		switch {
		case err != nil:
		case n >= 1024 && n%1024 == 0:
			declared[key] = fmt.Sprintf("%dGiB", n/1024)
		case n == 0:
			declared[key] = "0"
		default:
			declared[key] = fmt.Sprintf("%dMiB", n)
		}
	}
	if value, ok := config.Raw["onboot"]; ok {
		if on, err := strconv.ParseBool(value); err == nil {
			declared["onboot"] = strconv.FormatBool(on)
		}
	}
	if tags := slices.DeleteFunc(config.Tags(), func(tag string) bool { return tag == questions.HoldTag }); len(tags) > 0 {
		for i := range tags {
			tags[i] = ScalarText(tags[i])
		}
		declared["tags"] = "[" + strings.Join(tags, ", ") + "]"
	}
	for i, net := range config.Nets() {
		var parts []string
		for _, key := range []string{"bridge", "ip", "gw", "ip6", "gw6", "tag"} {
			if value := net[key]; value != "" {
				parts = append(parts, key+": "+ScalarText(value))
			}
		}
		if len(parts) > 0 {
			declared[fmt.Sprintf("net%d", i)] = "{" + strings.Join(parts, ", ") + "}"
		}
	}
	return declared
}

// plainScalar is what YAML reads back as the text that it is, also inside braces.
var plainScalar = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_./+-]*|[0-9]+(\.[0-9]+)?|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?)$`)

// ScalarText prints a value as a YAML scalar.
func ScalarText(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return strconv.Quote(s)
	}
	if plainScalar.MatchString(s) && (len(s) == 1 || s[0] != '0' || strings.ContainsAny(s, ".")) {
		return s
	}
	return strconv.Quote(s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
