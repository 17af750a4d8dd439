package proxmox

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const startPath = "/api2/json/nodes/pve1/lxc/100/status/start"

var startedUPID = "UPID:pve1:00000767:00012584:6B03308F:vzstart:100:felhom@pve!agent:"

// server is a TLS server with a certificate of its own; the client trusts it by
// its fingerprint.
func server(t *testing.T, h http.HandlerFunc, change ...func(*Options)) (*Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true // so that not using it shows
	s.StartTLS()
	t.Cleanup(s.Close)
	return testClient(t, nil, append([]func(*Options){func(o *Options) {
		o.Transport, o.URL, o.Fingerprint = nil, s.URL, fingerprint(s)
	}}, change...)...), s
}

func fingerprint(s *httptest.Server) string {
	sum := sha256.Sum256(s.Certificate().Raw)
	return formatFingerprint(sum[:])
}

func TestRequestsOnTheWire(t *testing.T) {
	type seen struct{ method, uri, auth, kind, body, length, te, proto string }
	var got atomic.Value
	client, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(seen{
			r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body),
			r.Header.Get("Content-Length"), fmt.Sprint(r.TransferEncoding), r.Proto,
		})
		if r.ContentLength != int64(len(body)) {
			t.Errorf("%s: content length %d of %d", r.Method, r.ContentLength, len(body))
		}
		if r.RequestURI == startPath {
			fmt.Fprintf(w, `{"data":%q}`, startedUPID)
			return
		}
		fmt.Fprint(w, `{"data":null}`)
	})
	const auth = "PVEAPIToken=felhom@pve!agent=" + testSecret
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		call Call
		want seen
	}{
		{On("pve1").Start(100), seen{"POST", startPath, auth, form, "", "0", "[]", "HTTP/1.1"}},
		{
			On("pve1").SetConfig(100, ConfigChange{Set: map[string]string{"net0": "name=eth0,bridge=vmbr0", "description": "a;b & 1+1=2 %"}}),
			seen{"PUT", "/api2/json/nodes/pve1/lxc/100/config", auth, form, "description=a%3Bb+%26+1%2B1%3D2+%25&net0=name%3Deth0%2Cbridge%3Dvmbr0", "69", "[]", "HTTP/1.1"},
		},
		{
			// PVE refuses a DELETE with a body: parameters go into the query.
			Call{"DELETE", "/nodes/pve1/storage/local/content/local:backup/a b%.tar", Params{"delay": "5"}},
			seen{"DELETE", "/api2/json/nodes/pve1/storage/local/content/local:backup/a%20b%25.tar?delay=5", auth, "", "", "", "[]", "HTTP/1.1"},
		},
	} {
		if _, err := client.Do(t.Context(), c.call); err != nil {
			t.Fatal(err)
		}
		if s := got.Load().(seen); s != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.call, s, c.want)
		}
	}
	upid, _ := ParseUPID(startedUPID)
	client.TaskStatusOnce(t.Context(), upid) // data null: an error, but sent
	if s := got.Load().(seen); s.uri != "/api2/json/nodes/pve1/tasks/"+startedUPID+"/status" || s.length != "" {
		t.Errorf("%+v", s)
	}
}

// TestWritesAreSentOnce holds it against everything that can go wrong with an
// answer, on real connections.
func TestWritesAreSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		unknown bool
	}{
		"connection closed": {func(w http.ResponseWriter, r *http.Request) { hangUp(w, "") }, true},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"data\":")
		}, true},
		"596": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(596) }, true},
		"595": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(595) }, false},
		"500": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, false},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		}, false},
		"no answer": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			sent := map[string]*atomic.Int32{"POST": {}, "PUT": {}, "DELETE": {}}
			client, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					fmt.Fprint(w, `{"data":{"version":"9.2.11"}}`)
					return
				}
				io.Copy(io.Discard, r.Body) // else the server does not see us leave
				sent[r.Method].Add(1)
				c.answer(w, r)
			}, func(o *Options) {
				if name == "no answer" {
					o.Timeout = 300 * time.Millisecond
				}
			})
			// There is an idle connection that a write could be sent on, and
			// again on another when it breaks.
			client.Version(t.Context())
			for _, call := range []Call{On("pve1").Start(100), On("pve1").SetConfig(100, ConfigChange{Delete: []string{"tags"}}), On("pve1").DeleteVolume("local:backup/x.tar")} {
				_, err := client.Do(t.Context(), call)
				// A slow machine may not even connect in time.
				arrived := sent[call.Method].Load() > 0
				if err == nil || IsOutcomeUnknown(err) != c.unknown && arrived {
					t.Errorf("%s: outcome unknown is %v: %v", call, IsOutcomeUnknown(err), err)
				}
			}
			for method, n := range sent {
				if n.Load() > 1 {
					t.Errorf("%s sent %d times", method, n.Load())
				}
			}
		})
	}
}

// hangUp writes raw bytes and closes the connection.
func hangUp(w http.ResponseWriter, raw string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		io.WriteString(conn, raw)
		conn.Close()
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	l.Close()
	client := testClient(t, nil, func(o *Options) {
		o.Transport, o.URL, o.Fingerprint, o.Retries = nil, "https://"+l.Addr().String(), strings.Repeat("00", 32), -1
	})
	_, err = client.Start(t.Context(), "pve1", 100)
	if !IsNotDelivered(err) || IsOutcomeUnknown(err) || !IsTransient(err) {
		t.Errorf("%v: %s", err, verdicts(err))
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var asked atomic.Int32
	client, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusMovedPermanently)
	})
	_, err := client.Version(t.Context())
	if answer, ok := errors.AsType[*AnswerError](err); !ok || answer.Status != 301 || asked.Load() != 1 || !strings.Contains(answer.Reason, `redirects to "https://127.0.0.1:1/"`) {
		t.Errorf("%v, after %d requests", err, asked.Load())
	}
}

func TestGzip(t *testing.T) {
	client, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("gzip is not asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, `{"data":{"version":"9.2.11","release":"9.2","repoid":"14a22df3"}}`)
		z.Close()
	})
	if v, err := client.Version(t.Context()); err != nil || v.Version != "9.2.11" {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestReadsAreRetried: after a 595 and a broken connection, not after a 596 or
// a refusal.
func TestReadsAreRetried(t *testing.T) {
	for _, c := range []struct {
		answers []string // status lines; "" is a broken connection
		want    int      // requests
		err     bool
	}{
		{[]string{"595 Connection refused", "595 Connection refused", "200 OK"}, 3, false},
		{[]string{"", "200 OK"}, 2, false},
		{[]string{"595 Connection refused"}, 4, true},
		{[]string{""}, 4, true},
		{[]string{"596 Connection timed out"}, 1, true},
		{[]string{"401 Authentication failed!"}, 1, true},
		{[]string{"500 storage 'x' does not exist"}, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			client := testClient(t, fake(func(*http.Request) (*http.Response, error) {
				answer := c.answers[min(asked, len(c.answers)-1)]
				asked++
				if answer == "" {
					return nil, io.ErrUnexpectedEOF
				}
				return response(answer, `{"data":{"version":"9.2.11"}}`), nil
			}))
			start := time.Now()
			_, err := client.Version(t.Context())
			if (err != nil) != c.err || asked != c.want || client.Requests() != c.want {
				t.Errorf("%q: %d requests, %v", c.answers, asked, err)
			}
			if c.want > 1 && time.Since(start) == 0 {
				t.Errorf("%q: repeated without a pause", c.answers)
			}
			if took := time.Since(start); c.want == 4 && (took < 1300*time.Millisecond || took > 3900*time.Millisecond) {
				t.Errorf("%q: three pauses took %v", c.answers, took)
			}
			if c.want == 1 && time.Since(start) > 0 {
				t.Errorf("%q: paused %v", c.answers, time.Since(start))
			}
		})
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			asked++
			<-req.Context().Done()
			return nil, req.Context().Err()
		}))
		start := time.Now()
		_, err := client.Version(t.Context())
		if e, ok := errors.AsType[*TransportError](err); !ok || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(e.Error(), "40s") {
			t.Errorf("read: %v", err)
		}
		_, err = client.Start(t.Context(), "pve1", 100)
		if !IsOutcomeUnknown(err) || !strings.Contains(err.Error(), "check before") {
			t.Errorf("write: %v", err)
		}
		if took := time.Since(start); took != 80*time.Second || asked != 2 {
			t.Errorf("%d requests in %v", asked, took)
		}
		// A body that never ends is no different.
		slow := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			r := response("200 OK", "")
			r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { <-req.Context().Done(); return 0, req.Context().Err() }))
			return r, nil
		}))
		if _, err := slow.Start(t.Context(), "pve1", 100); !IsOutcomeUnknown(err) {
			t.Errorf("body: %v", err)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestConnections: reads share one that is kept alive, each write has its own.
func TestConnections(t *testing.T) {
	var peers sync.Map
	client, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := peers.LoadOrStore(r.RemoteAddr, new(atomic.Int32))
		n.(*atomic.Int32).Add(1)
		fmt.Fprintf(w, `{"data":%q}`, startedUPID)
	})
	count := func() (n int) {
		peers.Range(func(any, any) bool { n++; return true })
		return n
	}
	for range 5 {
		client.Version(t.Context())
	}
	if n := count(); n != 1 {
		t.Errorf("five reads on %d connections", n)
	}
	for range 3 {
		if _, err := client.Start(t.Context(), "pve1", 100); err != nil {
			t.Error(err)
		}
	}
	if n := count(); n != 4 {
		t.Errorf("three writes more, and it is %d connections", n)
	}
}

// TestClockThatJumps: the node's clock is told as it is, and nothing that this
// package waits for depends on it.
func TestClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dates := []string{"Mon, 22 Nov 2027 18:02:09 GMT", "Thu, 01 Jan 1970 00:00:09 GMT", "soon", "Sun, 22 Nov 2026 18:02:09 GMT"}
		node := &oneTask{ends: time.Now().Add(20 * time.Second), exit: "OK"}
		n := 0
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			r, err := node.RoundTrip(req)
			r.Header.Set("Date", dates[n%len(dates)])
			n++
			return r, err
		}))
		start := time.Now()
		if s, err := client.WaitTask(t.Context(), dumpUPID, WaitOptions{}); err != nil || !s.OK() || time.Since(start) > 26*time.Second {
			t.Errorf("%+v, %v, after %v", s, err, time.Since(start))
		}
		if want := time.Date(2027, 11, 22, 18, 2, 9, 0, time.UTC); !client.Now().Equal(want) {
			t.Errorf("the first answer's clock is %v", client.Now())
		}
	})
}

// TestTwoWritesPerNode: a third waits, and giving up then means not sent; another node's does not wait.
func TestTwoWritesPerNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.URL.Path, "pve1") {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer now.Add(-1)
			}
			time.Sleep(10 * time.Second)
			return response("200 OK", `{"data":null}`), nil
		}))
		start := time.Now()
		done := make(chan error, 6)
		for range 6 {
			go func() {
				_, err := client.Do(t.Context(), On("pve1").SetConfig(100, ConfigChange{Delete: []string{"tags"}}))
				done <- err
			}()
		}
		time.Sleep(time.Second)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Do(impatient, On("pve1").Start(101))
		if !IsNotDelivered(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient one: %v", err)
		}
		elsewhere := time.Now()
		if _, err := client.Do(t.Context(), On("pve2").SetConfig(200, ConfigChange{Delete: []string{"tags"}})); err != nil || time.Since(elsewhere) != 10*time.Second {
			t.Errorf("another node's took %v: %v", time.Since(elsewhere), err)
		}
		for range 6 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); most.Load() != 2 || took != 30*time.Second {
			t.Errorf("%d at once, in %v", most.Load(), took)
		}
	})
}

func TestReadsAreAtLeastOne(t *testing.T) {
	token, err := NewToken("felhom@pve!agent", "secret")
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Transport: http.DefaultTransport, Token: token, Reads: -1})
	if err != nil || cap(c.conn.slots) != 1 {
		t.Errorf("%d reads at a time, %v", cap(c.conn.slots), err)
	}
}
