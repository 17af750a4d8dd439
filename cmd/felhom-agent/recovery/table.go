package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/quote"
)

// table ends a recovery: what is back, from what, what is not and why, and what is left for a person. It reports whether every guest is back.
func (c *Course) table(k *kit.Kit, have *State, left []string) (whole bool) {
	whole = true
	there := map[int]Guest{}
	for _, g := range have.Guests {
		there[g.VMID] = g
	}
	fmt.Fprintln(c.Out)
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "GUEST\tVMID\tSTATE\tFROM")
	for _, g := range k.Guests {
		at, exists := there[g.VMID]
		whole = whole && exists && slices.Contains(at.Owners, k.Owner)
		switch {
		case exists && slices.Contains(at.Owners, k.Owner):
			quote.Fprintf(w, "%s\t%d\tback\t%s\n", g.Name, g.VMID, origin(c.Host.Origins()[g.Name]))
		case exists:
			quote.Fprintf(w, "%s\t%d\tNOT BACK\tits VMID is used by an unmanaged guest (%s)\n", g.Name, g.VMID, at.Name)
		case g.Backup.IsZero():
			quote.Fprintf(w, "%s\t%d\tNOT BACK\tit was never backed up\n", g.Name, g.VMID)
		default:
			quote.Fprintf(w, "%s\t%d\tNOT BACK\tfelhom-agent --plan says why\n", g.Name, g.VMID)
		}
	}
	w.Flush()
	todo := append(left, byHand(k, have)...)
	if len(todo) > 0 {
		fmt.Fprintln(c.Out, "\nLeft for you:")
	}
	for _, line := range todo {
		fmt.Fprintf(c.Out, "  %s\n", quote.Line(line))
	}
	if names := slices.Sorted(maps.Keys(k.HostFiles())); len(names) > 0 {
		fmt.Fprintf(c.Out, "\nNot restored, to read in the kit (%s/host): %s\n", quote.Line(k.Path), quote.Line(strings.Join(names, ", ")))
	}
	return whole
}

// origin is what a guest was created from, for people.
func origin(from string) string {
	if from == "" {
		return "it was on the host"
	}
	return from
}

// byHand is what no recovery does.
func byHand(k *kit.Kit, have *State) []string {
	var todo []string
	for _, s := range k.Storages {
		if at, exists := have.Storages[s.ID]; exists && s.Key != "" && at.Key == "" {
			todo = append(todo, "storage "+s.ID+": its encryption key, without which its backups are not encrypted: pvesm set "+s.ID+" --encryption-key FILE")
		}
	}
	for _, b := range k.Bridges {
		if !slices.Contains(have.Bridges, b) {
			todo = append(todo, "bridge "+b+": create it (System, Network)")
		}
	}
	for _, key := range k.LeftOut {
		todo = append(todo, "the key "+key+" of agent.yaml: it may hold a password, so no kit has it")
	}
	return append(todo, "VMs that the YAML does not declare", "certificates of your own for the web interface: pvenode cert set")
}
