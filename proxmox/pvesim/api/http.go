// Package api is the HTTP API of PVE: it reads a request, finds its route, checks credentials,
// rights and parameters, lets faults come between, and has the handler of an area answer. It also
// says which area carries out which task.
package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/accounts"
	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
)

const (
	maxBody    = 524288
	serverName = "pve-api-daemon/3.0"
	jsonType   = "application/json;charset=UTF-8"
)

// RoundTrip answers an API request in process, whatever its host and scheme.
func RoundTrip(cl *cluster.Cluster, req *http.Request) (*http.Response, error) {
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
	a, err := serve(cl, req.Context(), req, body, chunked)
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
func ServeHTTP(cl *cluster.Cluster, w http.ResponseWriter, req *http.Request) {
	chunked := len(req.TransferEncoding) > 0
	var body []byte
	if !chunked {
		body, _ = io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	}
	a, err := serve(cl, req.Context(), req, body, chunked)
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
func serve(cl *cluster.Cluster, ctx context.Context, req *http.Request, body []byte, chunked bool) (answer, error) {
	defer cl.Enter()()
	cl.Requests++
	if req.Method != http.MethodGet {
		cl.Writes++
	}
	a, err := handle(cl, ctx, req, body, chunked)
	if err != nil {
		return a, err
	}
	cl.Settle()
	dress(cl, &a, req)
	return a, nil
}

// dress adds the headers.
func dress(cl *cluster.Cluster, a *answer, req *http.Request) {
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
	date := cl.Now.UTC().Format(http.TimeFormat)
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
func handle(cl *cluster.Cluster, ctx context.Context, req *http.Request, body []byte, chunked bool) (answer, error) {
	switch req.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return plain(501, "method '"+req.Method+"' not available", ""), nil
	}
	if chunked {
		return plain(501, "chunked transfer encoding not supported", "chunked transfer encoding not supported"), nil
	}
	if n := headerBytes(req.Header); n >= 8192 || len(req.Header) >= 63 {
		if err := cl.SleepUntil(ctx, cl.Now.Add(5*time.Second), nil); err != nil {
			return answer{}, err
		}
		return answer{eof: true}, nil
	}
	rest, ok := strings.CutPrefix(req.URL.Path, "/api2/")
	if !ok {
		return front(req.URL.Path), nil
	}
	format, uri, _ := strings.Cut(rest, "/")
	if format == "" {
		return plain(501, "no such uri", "no such uri"), nil
	}
	asked := "/" + uri
	uri = cleanPath(uri)
	cookie := ticket(req)
	who, why := cl.Rights.Authenticate(req.Header.Get("Authorization"), cookie, cl.Now)
	if who == nil && uri != "/access/ticket" && uri != "/access/domains" {
		if err := cl.SleepUntil(ctx, cl.Now.Add(cl.AuthDelay), nil); err != nil {
			return answer{}, err
		}
		return plain(401, why, ""), nil
	}
	if cookie != "" && who != nil && req.Method != http.MethodGet && req.Header.Get("CSRFPreventionToken") != accounts.CSRFToken(cookie) {
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
	c := &request.Call{Cluster: cl, Who: who, Method: req.Method, Path: uri, Asked: asked, Params: params}
	out, err := answerFault(cl, ctx, c)
	if format == "extjs" {
		out = out.extjs()
	}
	return out, err
}

// front is what there is beside the API: a page that says what this is.
func front(path string) answer {
	if path == "/" || path == "" {
		return answer{code: 200, reason: "OK", ctype: "text/html", body: []byte("<!DOCTYPE html><title>pvesim</title><p>A simulated Proxmox VE node. Its API is below /api2/json.\n")}
	}
	return plain(500, "no such file '"+path+"'", "no such file '"+path+"'\n")
}

// ticket is the ticket that a request has as a cookie, or "".
func ticket(req *http.Request) string {
	c, err := req.Cookie("PVEAuthCookie")
	if err != nil {
		return ""
	}
	if v, err := url.QueryUnescape(c.Value); err == nil {
		return v
	}
	return c.Value
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

// Do makes an API call in the name of a user or token ("root@pam", "anna@pve"),
// without HTTP. The path begins below /api2/json, its parameters are query or form alike.
// It answers with the status and the body.
func Do(cl *cluster.Cluster, as, method, path string, params map[string]string) (status int, body string) {
	defer cl.Enter()()
	who := cl.Rights.Subject(as)
	if who == nil {
		return 401, ""
	}
	p := make(map[string]string, len(params)+4)
	for k, v := range params {
		p[k] = v
	}
	path, query, _ := strings.Cut(path, "?")
	parseForm(query, p)
	c := &request.Call{Cluster: cl, Who: who, Method: method, Path: cleanPath(strings.TrimPrefix(path, "/")), Params: p}
	a := respond(c, Dispatch(context.Background(), c))
	cl.Settle()
	return a.code, string(a.body)
}
