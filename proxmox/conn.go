package proxmox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// readsAtOnce is how many GETs are in flight at a time, by default.
const readsAtOnce = 8

// conn sends single requests and understands PVE's envelope.
type conn struct {
	base    *url.URL
	token   Token
	agent   string
	timeout time.Duration
	late    error // the cause of a context that ended after timeout
	retries int
	// Two transports: a write gets a connection of its own, so that it never
	// goes out on one that PVE is just closing, and so that a broken connection
	// tells whether anything was sent.
	reads, writes http.RoundTripper
	network       bool // they are ours, not a caller's
	slots         chan struct{}
	date          atomic.Int64 // Unix seconds of the latest answer's Date
	answers       *Answers
}

func newConn(o Options) (*conn, error) {
	c := &conn{
		token:   o.Token,
		agent:   cmp.Or(o.UserAgent, "felhom-agent"),
		timeout: cmp.Or(o.Timeout, 40*time.Second),
		retries: max(cmp.Or(o.Retries, 3), 0),
		slots:   make(chan struct{}, max(cmp.Or(o.Reads, readsAtOnce), 1)),
		answers: cmp.Or(o.Answers, &Answers{}),
	}
	c.late = fmt.Errorf("no answer within %v: %w", c.timeout, context.DeadlineExceeded)
	if o.Token.ID() == "" {
		return nil, &OptionError{"Token", errors.New("no API token is given: make one with `pveum user token add USER NAME`")}
	}
	if o.URL == "" && o.Transport != nil {
		o.URL = "https://localhost:8006"
	}
	var err error
	if c.base, err = parseURL(o.URL); err != nil {
		return nil, &OptionError{"URL", err}
	}
	if o.Transport != nil {
		c.reads, c.writes = o.Transport, o.Transport
		return c, nil
	}
	if c.base.Scheme != "https" {
		return nil, &OptionError{"URL", fmt.Errorf("%s would send the token unencrypted: write https", o.URL)}
	}
	config, err := tlsConfig(o, c.base.Host)
	if err != nil {
		return nil, err
	}
	c.reads, c.writes, c.network = newTransport(config, false), newTransport(config, true), true
	return c, nil
}

func newTransport(config *tls.Config, single bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   10 * time.Second,
		Protocols:             protocols,
		DisableKeepAlives:     single,
		IdleConnTimeout:       3 * time.Second, // PVE closes after 5 s
		MaxIdleConnsPerHost:   readsAtOnce,
		ResponseHeaderTimeout: 0, // the request's deadline rules
	}
}

func (c *conn) close() {
	for _, rt := range []http.RoundTripper{c.reads, c.writes} {
		if t, ok := rt.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// reply is a successful answer.
type reply struct {
	method, path string
	status       int
	date         time.Time
	body         []byte
	decoded      *decoded
}

// decoded is what was decoded of an answer, once for all who are given it.
type decoded struct {
	mu      sync.Mutex
	value   any
	total   int
	entries any // of a list: see stream
	before  any // those of the answer before, as long as this one is not decoded
}

func (r *reply) fault(format string, args ...any) error {
	return &AnswerError{r.method, r.path, r.status, fmt.Sprintf(format, args...)}
}

// send makes exactly one request.
func (c *conn) send(ctx context.Context, method, path string, params Params) (*reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.late)
	defer cancel()

	lost := func(sent bool, err error) error {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return &TransportError{method, path, sent, err}
	}
	var sent atomic.Bool
	req := c.request(ctx, method, path, params, &sent)
	transport := c.reads
	if method != http.MethodGet {
		transport = c.writes
	}
	if err := context.Cause(ctx); err != nil {
		return nil, lost(false, err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		if cert, ok := distrust(err, c.base.Host); ok {
			return nil, cert
		}
		return nil, lost(c.maySent(&sent, err), err)
	}
	defer res.Body.Close()
	most := mostOf(method, path)
	body, err := readBody(res, most)
	r := &reply{method: method, path: path, status: res.StatusCode, decoded: &decoded{}}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		r.date = date
		c.date.Store(date.Unix())
	}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return nil, r.fault("it redirects to %q", res.Header.Get("Location"))
	case res.StatusCode >= 400:
		return nil, refusal(r, res, body)
	case err != nil:
		return nil, lost(true, err)
	case len(body) > most:
		return nil, r.fault("it is longer than %s", Size(most).Human())
	}
	r.body = body
	return r, nil
}

// maySent tells whether a request that failed may have reached PVE. The
// network's own transport reports it; of another one only a failed connect is
// known to be harmless.
func (c *conn) maySent(sent *atomic.Bool, err error) bool {
	if c.network {
		return sent.Load()
	}
	op, ok := errors.AsType[*net.OpError](err)
	return !ok || op.Op != "dial"
}

func (c *conn) request(ctx context.Context, method, path string, params Params, sent *atomic.Bool) *http.Request {
	u := *c.base
	u.Path = "/api2/json" + path
	u.RawPath = escapePath(u.Path)
	var form string
	if method == http.MethodPost || method == http.MethodPut {
		form = params.encode()
	} else if len(params) > 0 {
		// PVE refuses GET and DELETE with a body.
		u.RawQuery = params.encode()
	}
	if c.network {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			WroteHeaderField: func(string, []string) { sent.Store(true) },
		})
	}
	req := (&http.Request{Method: method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"Authorization": {c.token.header()},
		"User-Agent":    {c.agent},
		"Accept":        {"application/json"},
	}}).WithContext(ctx)
	if method == http.MethodPost || method == http.MethodPut {
		req.Body = io.NopCloser(strings.NewReader(form))
		req.ContentLength = int64(len(form)) // PVE refuses chunked bodies
		if form == "" {
			req.Body = http.NoBody
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// escapePath escapes what PVE would not take literally. It decodes the whole
// path once, so a percent sign must be escaped; colons and the like need not.
func escapePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		ch := path[i]
		switch {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', strings.IndexByte("/-_.~!@:", ch) >= 0:
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String()
}

// refusal makes the error of an answer with a status of 400 or more. PVE up to
// 8.3 says it in the status line only.
func refusal(r *reply, res *http.Response, body []byte) error {
	e := &APIError{Method: r.method, Path: r.path, Status: res.StatusCode}
	var envelope struct {
		Message string                     `json:"message"`
		Errors  map[string]json.RawMessage `json:"errors"`
	}
	jsonBody := json.Unmarshal(body, &envelope) == nil
	if jsonBody && len(envelope.Errors) > 0 {
		e.Fields = map[string]string{}
		for key, raw := range envelope.Errors {
			var s text
			if json.Unmarshal(raw, &s) != nil {
				s = text(raw)
			}
			e.Fields[key] = strings.TrimRight(string(s), "\n")
		}
	}
	line := strings.TrimSpace(strings.TrimPrefix(res.Status, strconv.Itoa(res.StatusCode)))
	e.Message = cmp.Or(strings.TrimRight(envelope.Message, "\r\n"), line, http.StatusText(res.StatusCode), "no message")
	if !jsonBody && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		e.Message += " (a web page, not PVE's API: is something in front of it?)"
	}
	if res.StatusCode == http.StatusForbidden {
		e.Denied = cmp.Or(parseDenied(e.Message), &Denied{Reason: e.Message})
	} else if len(e.Fields) > 0 {
		e.Denied = parseDenied(strings.Join(sortedValues(e.Fields), "\n"))
	}
	return e
}

func sortedValues(m map[string]string) []string {
	var values []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}

// excerpt is the beginning of an answer, for an error message.
func excerpt(b []byte) string {
	const most = 80
	s := strings.ToValidUTF8(string(b[:min(len(b), most)]), "?")
	if len(b) > most {
		s += "…"
	}
	return strconv.Quote(s)
}

func nodeOf(path string) string {
	parts := strings.SplitN(path, "/", 4)
	if len(parts) > 2 && parts[1] == "nodes" {
		return parts[2]
	}
	return ""
}
