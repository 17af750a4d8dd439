package httpstatus

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

//go:embed page.html
var pageText string

// page shows a report to people.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("Mon 2 Jan 15:04:05") },
	"date":  func(t time.Time) string { return t.Format("Mon 2 Jan 2006 15:04") },
	"took":  took,
	// The clock is that of the node's last answer, so what has just begun may lie after it.
	"between": func(from, to time.Time) time.Duration { return max(to.Sub(from), 0) },
	"size":    func(n int64) string { return proxmox.Size(n).String() },
	"mark":    func(state string) string { return marks[state] },
	"join":    strings.Join,
	"names":   names,
}).Parse(pageText))

// marks are the plan's symbols for the states of objects.
var marks = map[string]string{"failed": "!", "overdue": "!", "blocked": "!", "running": ">", "changing": "~", "waits": "…", "drifted": ".", "declared": "="}

// names prints a list of objects or guests.
func names(list any) (string, error) {
	var all []string
	switch list := list.(type) {
	case []spec.Ref:
		for _, ref := range list {
			all = append(all, ref.String())
		}
	case []reconcile.Unmanaged:
		for _, u := range list {
			all = append(all, u.String())
		}
	default:
		return "", fmt.Errorf("no list of names: %T", list)
	}
	return strings.Join(all, ", "), nil
}

// pagePolicy lets the page do nothing but run its own script, which asks this address for the page anew.
var pagePolicy = fmt.Sprintf("default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src '%s'; script-src '%s'; img-src data:",
	digest("style"), digest("script"))

// digest names the content of an element of the page, as a Content-Security-Policy does.
func digest(element string) string {
	_, rest, _ := strings.Cut(pageText, "<"+element+">")
	content, _, found := strings.Cut(rest, "</"+element+">")
	if !found {
		panic("page.html has no " + element)
	}
	sum := sha256.Sum256([]byte(content))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// took prints how long something took: "41 s", "9 min", "3 h".
func took(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
