package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A point is a moment in the life of an agent: when something happened, or where reads is not 0, when so many
// reads or polls were answered after it.
type point struct {
	event string
	reads int
}

func (p point) String() string {
	if p.reads > 0 {
		return fmt.Sprintf("read %d after %s", p.reads, p.event)
	}
	return p.event
}

// A tap stands between an agent and its node, on the way to the API and on that to the fence, and ends the
// agent's life at a point. Nothing that the agent says later is let through.
//
// The events are, each with a number for those that are alike:
//
//	begin                        the agent is started
//	line STEP ID                 a line is in the journal. It is seen when the agent next says something; what it
//	                             has written beyond that line is cut off after its death, for no one has heard of it
//	torn STEP ID                 the same, but the line was written only in half
//	sent METHOD PATH [VMID]      a write has taken effect on the node, and its answer is withheld
//	answered METHOD PATH [VMID]  the answer is on its way
//	sent fence NAME WHAT         the fence has accepted an operation; answered as above
//
// Names are without the times in them, so that they mean the same in every run.
type tap struct {
	journal string
	node    string // the address of the API
	fence   string // the path of the socket
	client  *http.Transport

	mu       sync.Mutex
	point    *point            // nil: nobody dies
	kill     func()            // ends the agent
	dead     bool              // it was done
	cut      int64             // to what size the journal is to be cut; 0: not at all
	read     int64             // how far the journal was read
	acts     map[string]string // act -> ID
	seen     map[string]int
	trail    []string // the events, and "" for each read
	counting bool
	reads    int
}

func newTap(journal, node, fence string, at *point) *tap {
	t := &tap{journal: journal, node: node, fence: fence, point: at, kill: func() {}, acts: map[string]string{}, seen: map[string]int{}}
	t.client = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, MaxIdleConnsPerHost: 64} // it is our own node, on this machine
	t.happened("begin")
	return t
}

// happened notes an event and reports whether the agent died of it.
func (t *tap) happened(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.note(what)
}

func (t *tap) note(what string) bool {
	what = timeless(what)
	t.seen[what]++
	event := fmt.Sprintf("%s #%d", what, t.seen[what])
	t.trail = append(t.trail, event)
	switch {
	case t.dead:
	case t.point != nil && t.point.event == event && t.point.reads == 0:
		t.die()
	case t.point != nil && t.point.event == event:
		t.counting = true
	}
	return t.dead
}

func (t *tap) die() {
	t.dead = true
	t.kill()
}

// open reports whether the agent still lives, after a look at what it has written.
func (t *tap) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return false
	}
	file, err := os.Open(t.journal)
	if err != nil {
		return true // there is none yet
	}
	defer file.Close()
	if _, err := file.Seek(t.read, io.SeekStart); err != nil {
		return true
	}
	text, _ := io.ReadAll(file)
	for line := range bytes.Lines(text) {
		var e struct{ Action, Step, ID string }
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &e) != nil {
			break
		}
		if e.ID != "" {
			t.acts[e.Action] = e.ID
		}
		if t.note("torn " + e.Step + " " + t.acts[e.Action]) {
			t.cut = t.read + int64(len(line)/2)
			return false
		}
		t.read += int64(len(line))
		if t.note("line " + e.Step + " " + t.acts[e.Action]) {
			t.cut = t.read
			return false
		}
	}
	return true
}

// hasRead counts a read that was answered, and reports whether the agent died of it.
func (t *tap) hasRead() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trail = append(t.trail, "")
	if t.counting && !t.dead {
		if t.reads++; t.reads == t.point.reads {
			t.die()
		}
	}
	return t.dead
}

// resume lets another agent through, which nobody ends.
func (t *tap) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead, t.point, t.counting = false, nil, false
}

// points are the moments at which an agent can die: at each event, and in the middle of the reads that follow it.
// A torn outcome is left out, for that is the same as none.
func (t *tap) points() []point {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []point
	last, reads := "", 0
	for _, event := range append(t.trail, "end") {
		if event == "" {
			reads++
			continue
		}
		if reads > 0 {
			all = append(all, point{last, (reads + 1) / 2})
		}
		last, reads = event, 0
		if event != "begin #1" && event != "end" && !strings.HasPrefix(event, "torn outcome") {
			all = append(all, point{event, 0})
		}
	}
	return all
}

// serveAPI hands on requests to the node, one after the other on each connection, and closes those that are idle
// as PVE does.
func (t *tap) serveAPI(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				req, err := http.ReadRequest(in)
				if err != nil || !t.request(conn, req) {
					return
				}
			}
		}()
	}
}

// request hands on one request and reports whether the next one may come.
func (t *tap) request(conn net.Conn, req *http.Request) bool {
	body, err := io.ReadAll(req.Body)
	if err != nil || !t.open() {
		return false
	}
	name := req.Method + " " + strings.TrimPrefix(req.URL.Path, "/api2/json")
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("vmid") != "" {
		name += " " + form.Get("vmid")
	}
	req.RequestURI, req.URL.Scheme, req.URL.Host = "", "https", t.node
	if req.Body = http.NoBody; len(body) > 0 { // else its length would be said in chunks, which PVE refuses
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	answer, err := t.client.RoundTrip(req)
	if err != nil {
		return false
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return false
	}
	write := req.Method != http.MethodGet
	if write && t.happened("sent "+name) {
		return false
	}
	answer.Body, answer.ContentLength, answer.TransferEncoding = io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
	var whole bytes.Buffer // one record, and not one for each line
	if answer.Write(&whole) != nil {
		return false
	}
	if _, err := conn.Write(whole.Bytes()); err != nil {
		return false
	}
	if write {
		return !t.happened("answered " + name)
	}
	return !t.hasRead()
}

// serveFence hands on what is said to the fence: one request a connection.
func (t *tap) serveFence(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			t.ask(conn)
		}()
	}
}

func (t *tap) ask(conn net.Conn) {
	request, err := io.ReadAll(conn)
	var r struct {
		Op *struct {
			Name string
			Args map[string]string
		}
	}
	if err != nil || json.Unmarshal(request, &r) != nil || !t.open() {
		return
	}
	name := ""
	if r.Op != nil {
		name = "fence " + r.Op.Name + " " + r.Op.Args["vmid"] + r.Op.Args["name"]
	}
	fence, err := net.Dial("unix", t.fence)
	if err != nil {
		return
	}
	defer fence.Close()
	if _, err := fence.Write(request); err != nil {
		return
	}
	_ = fence.(*net.UnixConn).CloseWrite()
	lines := bufio.NewReader(fence)
	for first := true; ; first = false {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		if first && name != "" && t.happened("sent "+name) {
			return
		}
		if _, err := conn.Write(line); err != nil {
			return
		}
	}
	if name != "" {
		t.happened("answered " + name)
	} else {
		t.hasRead()
	}
}

// What differs between two runs by nature, because they do not take equally long: the time in an archive's name,
// when a guest was born, and what is derived from it.
var timelessly = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`), "TIME"},                                                    // archives
	{regexp.MustCompile(`\b(born|begun)=\d{4}-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)\d\d(Z|\+\d\d(:|%3A)\d\d)`), "$1=TIME"}, // markers
	{regexp.MustCompile(`hwaddr=BE(:[0-9A-F]{2}){5}`), "hwaddr=MAC"},                                                  // addresses that we give a guest at its birth
	{regexp.MustCompile(`vmgenid: [0-9a-f-]{36}`), "vmgenid: ID"},                                                     // which each restore of a VM renews
	{regexp.MustCompile(`snaptime: \d+`), "snaptime: TIME"},                                                           // snapshots
}

func timeless(text string) string {
	for _, t := range timelessly {
		text = t.what.ReplaceAllString(text, t.to)
	}
	return text
}
