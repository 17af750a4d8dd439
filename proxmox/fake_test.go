package proxmox

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake answers requests in process with a function.
type fake func(*http.Request) (*http.Response, error)

func (f fake) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const testSecret = "5f4dcc3b-0000-4000-8000-aabbccddeeff"

func testToken(t testing.TB) Token {
	t.Helper()
	token, err := NewToken("felhom@pve!agent", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func testClient(t testing.TB, rt http.RoundTripper, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{Transport: rt, Token: testToken(t)}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// response is an HTTP answer with a status line such as "500 CT 100 not
// running", which is where old versions of PVE say what is wrong.
func response(statusLine, body string) *http.Response {
	var code int
	fmt.Sscanf(statusLine, "%d", &code)
	return &http.Response{
		Status: statusLine, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// script answers by "METHOD /path?query" (below /api2/json); each entry is a
// status line, a newline, and the body. A list of several is used up but for
// its last. It remembers what it was asked.
type script struct {
	mu    sync.Mutex
	to    map[string][]string
	asked []string
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Method + " " + strings.TrimPrefix(req.URL.Path, "/api2/json")
	if req.URL.RawQuery != "" {
		key += "?" + req.URL.RawQuery
	}
	if req.Body != nil {
		body, _ := io.ReadAll(req.Body)
		if len(body) > 0 {
			key += " " + string(body)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, key)
	answers, ok := s.to[key]
	if !ok {
		return response("501 Method '"+req.Method+"' not implemented", `{"data":null}`), nil
	}
	answer := answers[0]
	if len(answers) > 1 {
		s.to[key] = answers[1:]
	}
	line, body, _ := strings.Cut(answer, "\n")
	return response(line, body), nil
}

func data(json string) []string { return []string{"200 OK\n" + `{"data":` + json + `}`} }
