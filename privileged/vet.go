package privileged

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// admit checks a request as far as its own text goes, and that it is meant for this node.
func admit(host Host, change bool, node, name string, args map[string]string) (rule, error) {
	r, err := vet(change, node, name, args)
	if err != nil {
		return rule{}, err
	}
	here, err := host.NodeName()
	if err != nil {
		return rule{}, &RefusedError{Op: name, Arg: "node", Value: node, Reason: "this is not a node of Proxmox VE: " + err.Error(), Fix: "Run the root helper on " + node}
	}
	if here != node {
		return rule{}, &RefusedError{Op: name, Arg: "node", Value: node, Reason: "this is " + here, Fix: "Run it on " + node, Here: here}
	}
	return r, nil
}

// vet checks the text of a request: its name, that every argument is known and well formed, and that none is missing. The agent's side does it
// before it sends anything, the fence again.
func vet(change bool, node, name string, args map[string]string) (rule, error) {
	refuse := func(arg, value, reason, fix string) (rule, error) {
		return rule{}, &RefusedError{Op: printable(clip(name, 40)), Arg: printable(clip(arg, 40)), Value: value, Reason: reason, Fix: fix}
	}
	r, ok := rules[name]
	if !ok || (r.do != nil) != change {
		return refuse("", "", "the root helper has no such operation", "Install felhom-agent and felhom-fence of one version")
	}
	if len(args) > 300 {
		return refuse("", "", "too many arguments", "")
	}
	for _, key := range sortedKeys(args) {
		value := args[key]
		c, ok := r.may[pattern(key)]
		if !ok {
			return refuse(key, value, "there is no such argument", "Install felhom-agent and felhom-fence of one version")
		}
		if value == "" {
			return refuse(key, value, "it is empty", "Leave it out")
		}
		if most := max(r.long[key], 8192); !utf8.ValidString(value) || utf8.RuneCountInString(value) > most {
			return refuse(key, value, fmt.Sprintf("it is longer than %d characters or no UTF-8", most), "")
		}
		if reason := c(value); reason != "" {
			return refuse(key, value, reason, "")
		}
	}
	for _, key := range r.need {
		if args[key] == "" {
			return refuse(key, "", "it is missing", "")
		}
	}
	if reason := nodeName(node); reason != "" {
		return refuse("node", node, reason, "")
	}
	return r, nil
}

// pattern puts '#' in the place of the number of net0. and mp0. keys; a number that PVE would not write stays and so finds no rule.
func pattern(key string) string {
	for prefix, most := range map[string]int{"net": 31, "mp": 255} {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		digits, field, ok := strings.Cut(rest, ".")
		if ok && number(0, int64(most))(digits) == "" {
			return prefix + "#." + field
		}
	}
	if strings.Contains(key, "#") {
		return ""
	}
	return key
}
