package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// readParams reads query and body; a plain answer when PVE would refuse them.
func readParams(req *http.Request, body []byte) (map[string]string, *answer) {
	refuse := func(code int, text string) (map[string]string, *answer) {
		a := plain(code, text, text)
		return nil, &a
	}
	var params map[string]string
	if len(body) > 0 {
		if req.Method != http.MethodPost && req.Method != http.MethodPut {
			return refuse(501, "Unexpected content for method '"+req.Method+"'")
		}
		if len(body) > maxBody {
			return refuse(501, "for data too large")
		}
		ctype, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
		switch strings.TrimSpace(strings.ToLower(ctype)) {
		case "application/x-www-form-urlencoded", "":
			params = parseForm(string(body), nil)
		case "application/json":
			p, err := parseJSON(body)
			if err != nil {
				return refuse(500, err.Error())
			}
			params = p
		default:
			return refuse(506, "upload 'Content-Type '"+ctype+"' not implemented")
		}
	}
	if q := req.URL.RawQuery; q != "" {
		query := parseForm(q, nil)
		if params == nil {
			params = query
		} else {
			for k, v := range query {
				params[k] = v
			}
		}
	}
	return params, nil
}

// parseForm splits at & and ;, and a pair at = up to the second one. PVE: decode_urlencoded.
func parseForm(text string, into map[string]string) map[string]string {
	if into == nil {
		into = make(map[string]string)
	}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == '&' || r == ';' }) {
		k, v, _ := strings.Cut(pair, "=")
		v, _, _ = strings.Cut(v, "=")
		k, v = formDecode(k), formDecode(v)
		if k == "" {
			continue
		}
		if old, ok := into[k]; ok {
			v = old + "\x00" + v
		}
		into[k] = v
	}
	return into
}

func formDecode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	return lxcconf.DecodeText(strings.ReplaceAll(s, "+", " "))
}

// parseJSON reads a JSON body; booleans become 1 and 0, arrays lists, null nothing.
func parseJSON(body []byte) (map[string]string, error) {
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		offset, before := dec.InputOffset(), string(body)
		var syn *json.SyntaxError
		if errors.As(err, &syn) {
			offset = syn.Offset - 1
		}
		if offset >= 0 && int(offset) < len(before) {
			before = before[offset:]
		}
		return nil, refusal.Fail("'\"' expected, at character offset %d (before \"%s\") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.", offset, before)
	}
	params := make(map[string]string)
	for k, v := range m {
		switch v := v.(type) {
		case []any:
			items := make([]string, len(v))
			for i := range v {
				items[i] = scalar(v[i])
			}
			params[k] = strings.Join(items, "\x00")
		case nil:
			params[k] = schema.Null
		default:
			params[k] = scalar(v)
		}
	}
	return params, nil
}

func scalar(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	case string:
		return v
	case json.Number:
		return v.String()
	case nil:
		return ""
	}
	b, _ := json.Marshal(v)
	return string(b)
}
