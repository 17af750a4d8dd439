package pvesim

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody    = 524288
	hungFor    = 30 * time.Second
	serverName = "pve-api-daemon/3.0"
	jsonType   = "application/json;charset=UTF-8"
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

// RoundTrip answers an API request in process, whatever its host and scheme.
func (s *Sim) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	var err error
	chunked := false
	if req.Body != nil {
		if req.ContentLength < 0 {
			chunked = true
		}
		body, err = io.ReadAll(io.LimitReader(req.Body, maxBody+1))
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	a, err := s.serve(req.Context(), req, body, chunked)
	if err != nil {
		return nil, err
	}
	if a.eof {
		return nil, io.EOF
	}
	res := &http.Response{
		Status: strconv.Itoa(a.code) + " " + a.reason, StatusCode: a.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Request: req,
		ContentLength: int64(len(a.body)), Close: a.code >= 400,
		Body: io.NopCloser(bytes.NewReader(a.body)),
	}
	return res, nil
}

// ServeHTTP answers an API request over a connection. It writes errors itself,
// since their status lines bear PVE's text, so the server must speak HTTP/1.1 only.
func (s *Sim) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	chunked := len(req.TransferEncoding) > 0
	var body []byte
	if !chunked {
		body, _ = io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	}
	a, err := s.serve(req.Context(), req, body, chunked)
	if err != nil {
		return
	}
	if !a.eof && a.code == http.StatusOK {
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.WriteHeader(a.code)
		_, _ = w.Write(a.body)
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(a.code)
		return
	}
	defer conn.Close()
	if a.eof {
		return
	}
	fmt.Fprintf(buf, "HTTP/1.1 %d %s\r\n", a.code, a.reason)
	_ = a.header.Write(buf)
	_, _ = buf.WriteString("\r\n")
	_, _ = buf.Write(a.body)
	_ = buf.Flush()
}

// serve is both doors' inside.
func (s *Sim) serve(ctx context.Context, req *http.Request, body []byte, chunked bool) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.requests++
	if req.Method != http.MethodGet {
		s.writes++
	}
	a, err := s.handle(ctx, req, body, chunked)
	if err != nil {
		return a, err
	}
	s.settle()
	s.dress(&a, req)
	return a, nil
}

// dress adds the headers.
func (s *Sim) dress(a *answer, req *http.Request) {
	if len(a.body) > 1024 && strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(a.body)
		_ = z.Close()
		a.body = b.Bytes()
		a.header = http.Header{"Content-Encoding": {"gzip"}}
	} else {
		a.header = make(http.Header, 8)
	}
	date := s.now.UTC().Format(http.TimeFormat)
	a.header["Date"] = []string{date}
	a.header["Expires"] = []string{date}
	a.header["Server"] = []string{serverName}
	a.header["Cache-Control"] = []string{"max-age=0"}
	a.header["Pragma"] = []string{"no-cache"}
	if a.ctype != "" {
		a.header["Content-Type"] = []string{a.ctype}
	}
	if len(a.body) > 0 {
		a.header["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	if a.code >= 400 || req.Close {
		a.header["Connection"] = []string{"close"}
	} else {
		a.header["Connection"] = []string{"Keep-Alive"}
	}
}

// handle is the HTTP layer: methods, formatters, credentials, bodies.
// PVE: AnyEvent process_header, authenticate_and_handle_request.
func (s *Sim) handle(ctx context.Context, req *http.Request, body []byte, chunked bool) (answer, error) {
	switch req.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return plain(501, "method '"+req.Method+"' not available", ""), nil
	}
	if chunked {
		return plain(501, "chunked transfer encoding not supported", "chunked transfer encoding not supported"), nil
	}
	if n := headerBytes(req.Header); n >= 8192 || len(req.Header) >= 63 {
		if err := s.sleepUntil(ctx, s.now.Add(5*time.Second), nil); err != nil {
			return answer{}, err
		}
		return answer{eof: true}, nil
	}
	path := req.URL.Path
	rest, ok := strings.CutPrefix(path, "/api2/")
	if !ok {
		if path == "/" || path == "" {
			return answer{code: 200, reason: "OK", ctype: "text/html", body: []byte("<!DOCTYPE html><title>pvesim</title><p>A simulated Proxmox VE node. Its API is below /api2/json.\n")}, nil
		}
		return plain(500, "no such file '"+path+"'", "no such file '"+path+"'\n"), nil
	}
	format, uri, _ := strings.Cut(rest, "/")
	if format == "" {
		return plain(501, "no such uri", "no such uri"), nil
	}
	asked := "/" + uri
	uri = cleanPath(uri)
	cookie := ""
	if c, err := req.Cookie("PVEAuthCookie"); err == nil {
		cookie = c.Value
		if v, err := url.QueryUnescape(cookie); err == nil {
			cookie = v
		}
	}
	who, why := s.authenticate(req.Header.Get("Authorization"), cookie)
	if who == nil && uri != "/access/ticket" && uri != "/access/domains" {
		if err := s.sleepUntil(ctx, s.now.Add(s.authDelay), nil); err != nil {
			return answer{}, err
		}
		return plain(401, why, ""), nil
	}
	if cookie != "" && who != nil && req.Method != http.MethodGet && req.Header.Get("CSRFPreventionToken") != csrfToken(cookie) {
		return plain(401, "Permission denied - invalid csrf token", "Permission denied - invalid csrf token"), nil
	}
	if format != "json" && format != "extjs" {
		text := "no formatter for uri " + uri + ", " + format
		return plain(501, text, text), nil
	}
	params, a := readParams(req, body)
	if a != nil {
		return *a, nil
	}
	c := &call{s: s, who: who, method: req.Method, path: uri, asked: asked, params: params}
	out, err := s.answerFault(ctx, c)
	if format == "extjs" {
		out = out.extjs()
	}
	return out, err
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

func headerBytes(h http.Header) int {
	n := 0
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(v) + 4
		}
	}
	return n
}

// cleanPath drops empty components, as PVE does, but keeps a trailing slash out of sight.
func cleanPath(p string) string {
	if !strings.Contains(p, "//") && !strings.HasSuffix(p, "/") && !strings.HasPrefix(p, "/") {
		return "/" + p
	}
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(parts, "/")
}

// respond turns a call's outcome into an answer. PVE: Formatter::Standard prepare_response_data.
func respond(c *call, err error) answer {
	if err == nil {
		b := c.body.b
		if len(b) == 0 {
			b = append(b, envelope+"null"...)
		}
		if c.total >= 0 {
			b = append(b, `,"total":`...)
			b = strconv.AppendInt(b, c.total, 10)
		}
		return answer{code: 200, reason: "OK", ctype: jsonType, body: append(b, '}')}
	}
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{code: 500, text: err.Error()}
	}
	first, _, _ := strings.Cut(r.text, "\n")
	if r.code >= 595 || r.bare {
		return plain(r.code, first, "")
	}
	var d doc
	d.open().null("data")
	if r.code == 501 || r.code == 401 && c.route == nil {
		d.str("message", r.text)
	} else {
		d.str("message", strings.TrimSuffix(r.text, "\n")+"\n")
	}
	if r.errors != nil {
		d.key("errors").open()
		for _, k := range sortedKeys(r.errors) {
			d.str(k, r.errors[k])
		}
		d.close()
	}
	d.close()
	return answer{code: r.code, reason: first, ctype: jsonType, body: d.b}
}

// Do makes an API call in the name of a user or token ("root@pam", "anna@pve"),
// without HTTP. The path begins below /api2/json, its parameters are query or form alike.
// It answers with the status and the body.
func (s *Sim) Do(as, method, path string, params map[string]string) (status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	who := s.acl.subject(as)
	if who == nil {
		return 401, ""
	}
	p := make(map[string]string, len(params)+4)
	for k, v := range params {
		p[k] = v
	}
	path, query, _ := strings.Cut(path, "?")
	parseForm(query, p)
	c := &call{s: s, who: who, method: method, path: cleanPath(strings.TrimPrefix(path, "/")), params: p}
	a := respond(c, s.dispatch(context.Background(), c))
	s.settle()
	return a.code, string(a.body)
}
