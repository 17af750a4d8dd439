package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile"
)

// privilegeReport is what --privileges prints: one line per privilege that the YAML needs.
type privilegeReport struct {
	Format   int                 `json:"format"` // of this document: 1
	Token    string              `json:"token"`
	Node     string              `json:"node"`
	Needs    []*neededPrivilege  `json:"needs"`
	Fix      []string            `json:"fix"`      // commands that give what is missing
	Unneeded map[string][]string `json:"unneeded"` // privilege -> paths on which the token has it
}

type neededPrivilege struct {
	Privilege string   `json:"privilege"`
	Paths     []string `json:"paths"`
	Missing   []string `json:"missing"` // of these paths
	For       string   `json:"for"`     // the first object that needs it, and what for
}

// runPrivileges compares what the YAML needs with what the token has. It only reads.
func runPrivileges(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	want, err := cmd.load()
	if err != nil {
		return 0, err
	}
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	needs := reconcile.NeedsOf(want, n.Source.Node)
	have, err := n.Source.View.Permissions(ctx)
	if err != nil {
		return 0, n.Explain(err)
	}
	r := comparePrivileges(needs, have)
	r.Token, r.Node = n.Source.TokenID, n.Source.Node
	code := exit.OK
	if len(r.Fix) > 0 {
		code = exit.Blocked
	}
	if cmd.json {
		return code, httpstatus.WriteJSON(con.Stdout, r)
	}
	r.writeText(con)
	return code, nil
}

func comparePrivileges(needs []reconcile.Need, have proxmox.Permissions) *privilegeReport {
	r := &privilegeReport{Format: 1, Needs: []*neededPrivilege{}, Fix: []string{}, Unneeded: map[string][]string{}}
	byName, lacking := map[string]*neededPrivilege{}, map[string]bool{}
	for _, need := range needs {
		p := byName[need.Privilege]
		if p == nil {
			p = &neededPrivilege{Privilege: need.Privilege, Missing: []string{}, For: "every refresh: " + need.For}
			if need.Object.Name != "" {
				p.For = need.Object.String() + ": " + need.For
			}
			byName[need.Privilege] = p
			r.Needs = append(r.Needs, p)
		}
		p.Paths = append(p.Paths, need.Path)
		if have.Has(need.Path, need.Privilege) {
			continue
		}
		p.Missing = append(p.Missing, need.Path)
		if have.Has("/", need.Privilege) {
			r.Fix = append(r.Fix, fmt.Sprintf("pveum acl list    # an entry on %s or above it hides %s, which / gives", need.Path, need.Privilege))
		} else {
			lacking[need.Privilege] = true
		}
	}
	if len(lacking) > 0 {
		r.Fix = append(r.Fix, fmt.Sprintf("pveum role modify %s --append 1 --privs '%s'", setupRole, strings.Join(slices.Sorted(maps.Keys(lacking)), ",")))
	}
	for path, privileges := range have {
		for privilege := range privileges {
			if byName[privilege] == nil {
				r.Unneeded[privilege] = append(r.Unneeded[privilege], path)
			}
		}
	}
	for _, paths := range r.Unneeded {
		slices.Sort(paths)
	}
	return r
}

func (r *privilegeReport) writeText(con *console.Console) {
	missing := 0
	for _, p := range r.Needs {
		mark, paths := " ok ", p.Paths
		if len(p.Missing) > 0 {
			missing++
			mark, paths = "fail", p.Missing
		}
		shown := strings.Join(paths[:min(len(paths), 3)], ", ")
		if len(paths) > 3 {
			shown += fmt.Sprintf(" and %d more", len(paths)-3)
		}
		quote.Fprintf(con.Stdout, "[%s] %-24s %s (%s)\n", mark, p.Privilege, shown, p.For)
	}
	if len(r.Unneeded) > 0 {
		quote.Fprintf(con.Stdout, "[note] the token %s also has, and this YAML does not need: %s\n", r.Token, strings.Join(slices.Sorted(maps.Keys(r.Unneeded)), ", "))
	}
	if missing == 0 {
		quote.Fprintf(con.Stdout, "The token has %s that the YAML needs on %s.\n", session.Plural(len(r.Needs), "privilege", "privileges"), r.Node)
		return
	}
	fmt.Fprintln(con.Stdout, "fix, as root on the node:")
	for _, line := range r.Fix {
		quote.Fprintf(con.Stdout, "  %s\n", line)
	}
}
