package backups

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

var notesVarRE = regexp.MustCompile(`\{\{([^}]*)\}\}|\\(.)`)

// checkNotes refuses variables and escapes that nobody knows.
func checkNotes(text string) error {
	for _, m := range notesVarRE.FindAllStringSubmatchIndex(text, -1) {
		if m[2] >= 0 {
			switch text[m[2]:m[3]] {
			case "cluster", "guestname", "node", "vmid":
			default:
				return refusal.BadParam("notes-template", fmt.Sprintf("found unknown: variable '%s' at char %d\n", text[m[2]:m[3]], m[2]+2))
			}
			continue
		}
		if e := text[m[4]:m[5]]; e != "n" && e != `\` {
			return refusal.BadParam("notes-template", fmt.Sprintf("found unknown: escape sequence '\\%s' at char %d\n", e, m[0]+2))
		}
	}
	return nil
}

func expandNotes(text string, n *world.Node, g *world.Guest) string {
	return notesVarRE.ReplaceAllStringFunc(text, func(m string) string {
		switch m {
		case `\n`:
			return "\n"
		case `\\`:
			return `\`
		case "{{guestname}}":
			return g.Name()
		case "{{node}}":
			return n.Name
		case "{{vmid}}":
			return strconv.Itoa(g.VMID)
		case "{{cluster}}":
			return n.Name
		}
		return m
	})
}
