package api

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
)

// An answer is what goes back over the wire.
type answer struct {
	code   int
	reason string
	body   []byte
	ctype  string
	eof    bool // the connection is closed instead
	header http.Header
}

func plain(code int, text string, body string) answer {
	a := answer{code: code, reason: text, body: []byte(body)}
	if body != "" {
		a.ctype = "text/plain"
	}
	return a
}

// extjs is an answer as the web interface wants it: always a 200, with the true status
// inside. PVE: Formatter::Standard prepare_response_data.
func (a answer) extjs() answer {
	body, isObject := bytes.CutSuffix(a.body, []byte("}"))
	switch {
	case a.ctype != jsonType || !isObject:
	case a.code == http.StatusOK:
		a.body = append(body, `,"success":1}`...)
	default:
		a.body = fmt.Appendf(body, `,"success":0,"status":%d}`, a.code)
		a.code, a.reason = http.StatusOK, "OK"
	}
	return a
}

// respond turns a call's outcome into an answer. PVE: Formatter::Standard prepare_response_data.
func respond(c *request.Call, err error) answer {
	if err == nil {
		b := c.Body.B
		if len(b) == 0 {
			b = append(b, request.Envelope+"null"...)
		}
		if c.Total >= 0 {
			b = append(b, `,"total":`...)
			b = strconv.AppendInt(b, c.Total, 10)
		}
		return answer{code: 200, reason: "OK", ctype: jsonType, body: append(b, '}')}
	}
	var r *refusal.Refusal
	if !errors.As(err, &r) {
		r = &refusal.Refusal{Code: 500, Text: err.Error()}
	}
	first, _, _ := strings.Cut(r.Text, "\n")
	if r.Code >= 595 || r.Bare {
		return plain(r.Code, first, "")
	}
	var d jsontext.Doc
	d.Open().Null("data")
	if r.Code == 501 || r.Code == 401 && c.Route == nil {
		d.Str("message", r.Text)
	} else {
		d.Str("message", strings.TrimSuffix(r.Text, "\n")+"\n")
	}
	if r.Errors != nil {
		d.Key("errors").Open()
		for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
			d.Str(k, r.Errors[k])
		}
		d.Close()
	}
	d.Close()
	return answer{code: r.Code, reason: first, ctype: jsonType, body: d.B}
}
