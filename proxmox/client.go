package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say how to reach a node of Proxmox VE.
type Options struct {
	// URL is https://HOST:8006. Default port 8006. Plain http is refused except
	// for a Transport of the caller's own.
	URL   string
	Token Token
	// Fingerprint pins the server's certificate by the SHA-256 of its DER form,
	// upper or lower case, with or without colons. Without it the certificate is
	// checked against CAFile or CA (PEM; PVE's own is /etc/pve/pve-root-ca.pem),
	// or else the system's authorities.
	Fingerprint string
	CAFile      string
	CA          []byte
	// Transport replaces the network: a simulated node, for example. URL may
	// be empty then.
	Transport http.RoundTripper
	// Timeout is for one request; default 40 s, since PVE itself answers 596
	// after 30 s.
	Timeout   time.Duration
	UserAgent string
	// Retries is how often a GET is sent again after a 595 or a broken
	// connection; default 3, negative for never. Writes are never repeated.
	Retries int
	// Reads is how many GETs are in flight at a time; default 8, at least 1.
	Reads int
	// Answers are shared with other clients of the same node; default: its own.
	Answers *Answers
}

// Client talks to Proxmox VE. Its reads are those of View, each one a request;
// for reads that belong together use Look. It is safe for concurrent use.
type Client struct {
	*View
	conn *conn

	mu     sync.Mutex
	queues map[string]chan struct{} // node -> slots for writes in flight
	waits  map[string]*waits        // by node
}

// writesPerNode is how many writes are in flight at one node. PVE's daemon has
// three workers, each busy with one request: three slow writes would make the
// node deaf to everybody.
const writesPerNode = 2

// New makes a client. It does not connect yet. Its errors are OptionErrors.
func New(o Options) (*Client, error) {
	conn, err := newConn(o)
	if err != nil {
		return nil, err
	}
	return &Client{View: &View{conn: conn}, conn: conn, queues: map[string]chan struct{}{}, waits: map[string]*waits{}}, nil
}

// Look is a new View that sends each distinct GET once.
func (c *Client) Read() *View {
	return &View{conn: c.conn, memo: map[string]*answer{}}
}

// Clock is the node's clock as of the latest answer, in whole seconds; the zero
// time before there was one.
func (c *Client) Clock() time.Time {
	if s := c.conn.date.Load(); s != 0 {
		return time.Unix(s, 0)
	}
	return time.Time{}
}

// Close closes idle connections.
func (c *Client) Close() { c.conn.close() }

// Do sends a call, exactly once, and returns the task that PVE started. The
// zero UPID stands for a call that was carried out at once (see Call.Async), and
// for a backup of guests none of which lives on the node: nothing was done then.
// An error of class IsNotDelivered or IsOutcomeUnknown says whether it may be
// sent again; all other errors mean that PVE refused it, or that it was never
// sent. It never deletes a guest: that is left to GuestDeleter.
func (c *Client) Do(ctx context.Context, call Call) (UPID, error) {
	if err := call.check(); err != nil {
		return UPID{}, err
	}
	if call.Destroys() {
		return UPID{}, fmt.Errorf("%s is not sent: %w", call, errDeletes)
	}
	return c.send(ctx, call)
}

// send sends a call that was checked.
func (c *Client) send(ctx context.Context, call Call) (UPID, error) {
	queue := c.queue(call.Path)
	select {
	case queue <- struct{}{}:
		defer func() { <-queue }()
	case <-ctx.Done():
		return UPID{}, &TransportError{call.Method, call.Path, false, fmt.Errorf("waiting for earlier calls: %w", context.Cause(ctx))}
	}
	r, err := c.conn.send(ctx, call.Method, call.Path, call.Params)
	if err != nil {
		return UPID{}, err
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	var answer *string
	switch err := json.Unmarshal(r.body, &envelope); {
	case err != nil:
		return UPID{}, r.fault("it is not PVE's JSON (%v): %s", err, excerpt(r.body))
	case envelope.Data == nil:
		return UPID{}, r.fault("it has no data: %s", excerpt(r.body))
	case json.Unmarshal(envelope.Data, &answer) != nil:
		return UPID{}, r.fault("expected a task id, got %s", excerpt(envelope.Data))
	case answer == nil && (!call.Async() || call.Params["delay"] != ""): // PVE waited itself
		return UPID{}, nil
	case answer == nil:
		return UPID{}, r.fault("expected a task id, got null")
	case *answer == "OK" && strings.HasSuffix(call.Path, "/vzdump"):
		return UPID{}, nil
	}
	upid, err := ParseUPID(*answer)
	if err != nil {
		return UPID{}, r.fault("%v", err)
	}
	return upid, nil
}

func (c *Client) queue(path string) chan struct{} {
	node := nodeOf(path)
	c.mu.Lock()
	defer c.mu.Unlock()
	queue := c.queues[node]
	if queue == nil {
		queue = make(chan struct{}, writesPerNode)
		c.queues[node] = queue
	}
	return queue
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%q is not the address of a node: write https://HOST:8006", s)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, errors.New("the address of a node is only https://HOST:8006, without user, path or query")
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, fmt.Errorf("%q is not the address of a node: invalid port %s, PVE's port is 8006", s, u.Port())
	}
	if u.Scheme == "https" && u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "8006")
	}
	u.Path = ""
	return u, nil
}
