package proxmox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// TestPool is the pool of restore tests, unless the operator names another.
const TestPool = "felhom-test"

// TestToken is the API token of restore tests. It is a type of its own: what
// was given as the agent's Token cannot become it, and so cannot delete
// guests. However it is printed, it shows its id only.
type TestToken struct{ token Token }

// NewTestToken takes the two parts that PVE shows when a token is made; see
// NewToken.
func NewTestToken(id, secret string) (TestToken, error) {
	token, err := NewToken(id, secret)
	return TestToken{token}, err
}

// ID is the full token id: felhom-test@pve!tests. It is empty for the zero
// TestToken.
func (t TestToken) ID() string { return t.token.ID() }

// User is the token's owner: felhom-test@pve.
func (t TestToken) User() string { return t.token.User() }

// Format shows the redacted form for every verb.
func (t TestToken) Format(state fmt.State, verb rune) { t.token.Format(state, verb) }

// LogValue is the redacted form.
func (t TestToken) LogValue() slog.Value { return t.token.LogValue() }

// MarshalText gives the redacted form.
func (t TestToken) MarshalText() ([]byte, error) { return t.token.MarshalText() }

// TestGuests sends the calls of restore tests with their own token: a restore
// into the pool of tests, a start and a stop. It sends nothing else; the
// deletion of such a guest is sent, with the same token, by GuestDeleter. PVE
// refuses to delete others where the token has privileges on the pool alone. It
// is safe for concurrent use.
type TestGuests struct {
	client *Client
	pool   string
}

// NewTestGuests makes the client of restore tests beside the agent's own. The
// options are those of the agent's client; the token must be another one. It
// does not connect yet. Its errors are OptionErrors.
func NewTestGuests(o Options, token TestToken, pool string) (*TestGuests, error) {
	switch {
	case token.ID() == "":
		return nil, &OptionError{"token", errors.New("restore tests have no token")}
	case token.ID() == o.Token.ID():
		return nil, &OptionError{"token", fmt.Errorf("the token of restore tests is the agent's own %s: expected a token with privileges on /pool/%s only", token.ID(), pool)}
	case CheckPoolID(pool) != nil:
		return nil, &OptionError{"pool", CheckPoolID(pool)}
	}
	o.Token = token.token
	client, err := New(o)
	if err != nil {
		return nil, err
	}
	return &TestGuests{client, pool}, nil
}

// Pool is the pool that the guests of tests are in.
func (g *TestGuests) Pool() string { return g.pool }

// TokenID is the id of the token of restore tests.
func (g *TestGuests) TokenID() string { return g.client.conn.token.ID() }

// Look is a new View with the eyes of the token of restore tests: it sees the
// guests of its pool only, and not before their restore has ended. What must
// be certain is asked with the agent's own token.
func (g *TestGuests) Read() *View { return g.client.Read() }

// Close closes idle connections.
func (g *TestGuests) Close() { g.client.Close() }

// Do sends a call of a restore test, exactly once; see Client.Do. Any other
// call is refused before it is sent.
func (g *TestGuests) Do(ctx context.Context, call Call) (UPID, error) {
	if err := call.check(); err != nil {
		return UPID{}, err
	}
	if why := g.refuses(call); why != "" {
		return UPID{}, fmt.Errorf("%s is not sent: %s", call, why)
	}
	return g.client.send(ctx, call)
}

// Takes tells whether a call is one of restore tests: a restore into their
// pool, or the deletion of a guest. Client.Do is not to send these.
func (g *TestGuests) Takes(call Call) bool {
	return call.Destroys() || call.restores() && call.Params["pool"] == g.pool
}

// forbiddenInTests are parameters that a restore of a test does not give: force
// replaces a guest, start makes a second task whose end is not this one's, and
// with ignore-unpack-errors half of the files would pass as all.
var forbiddenInTests = []string{"force", "start", "ignore-unpack-errors", "ha-managed", "hookscript", "lock", "template"}

// refuses says why a call is none of a restore test; "" for one that is.
func (g *TestGuests) refuses(call Call) string {
	switch {
	case call.Destroys():
		return errDeletes.Error()
	case call.restores():
		if call.Params["pool"] != g.pool {
			return "a restore test restores into the pool " + g.pool + " only"
		}
		for _, key := range slices.Sorted(maps.Keys(call.Params)) {
			if slices.Contains(forbiddenInTests, key) {
				return "a restore test does not give " + key
			}
		}
		return ""
	case call.Method == "POST" && len(call.Params) == 0 && (guestCall(call.Path, "status/start") || guestCall(call.Path, "status/stop")):
		return ""
	}
	return "it is not a call of a restore test (restore into the pool, start, stop)"
}

// restores tells that a call makes a container of an archive.
func (c Call) restores() bool {
	parts := strings.Split(c.Path, "/")
	return c.Method == "POST" && len(parts) == 4 && parts[1] == "nodes" && parts[3] == "lxc" && c.Params["restore"] == "1"
}

// guestCall tells that a path is /nodes/NODE/lxc/VMID or that of a virtual
// machine, with rest behind it.
func guestCall(path, rest string) bool {
	parts := strings.SplitN(path, "/", 6)
	if len(parts) < 5 || parts[1] != "nodes" || parts[3] != "lxc" && parts[3] != "qemu" {
		return false
	}
	return strings.Join(parts[5:], "") == rest
}

// Isolated is an interface for a copy of a guest beside it: its name and
// addresses, on a bridge that exists (without one PVE stores it and the guest
// never starts; measured, 9.2.11), with the link down and a MAC address that
// PVE draws. Nothing else of it is kept.
func (n Net) Isolated(bridge string) Net {
	isolated := Net{"bridge": bridge, "link_down": "1"}
	for _, key := range []string{"name", "ip", "ip6", "gw", "gw6", "type"} {
		if value, ok := n[key]; ok {
			isolated[key] = value
		}
	}
	return isolated
}
