package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// answerFault answers a call, unless a fault comes between.
func answerFault(cl *cluster.Cluster, ctx context.Context, c *request.Call) (answer, error) {
	if len(cl.World.Faults) == 0 {
		return outcome(cl, ctx, c)
	}
	f := cl.FaultFor(c.Method + " " + c.Path)
	if f == nil {
		return outcome(cl, ctx, c)
	}
	if strings.HasSuffix(f.Effect, "-after") { // PVE does as asked, and only its answer suffers
		if _, err := outcome(cl, ctx, c); err != nil {
			return answer{}, err
		}
	}
	text := func(def string) string { return cmp.Or(f.Text, def) }
	wait := func() error {
		if f.For > 0 {
			return cl.SleepUntil(ctx, cl.Now.Add(f.For), nil)
		}
		return nil
	}
	switch f.Effect {
	case "refused":
		return plain(595, text("Connection refused"), ""), wait()
	case "lost":
		return plain(596, text("Connection timed out"), ""), wait()
	case "lost-after":
		return plain(596, text("Broken pipe"), ""), wait()
	case "late":
		d := f.For
		if d == 0 {
			d = 30 * time.Second
		}
		if c.Who != nil {
			cl.World.Events = append(cl.World.Events, &world.Event{At: cl.Now.Add(d), Kind: "request",
				As: c.Who.ID, Method: c.Method, Path: c.Path, Params: c.Params})
		}
		return plain(596, text("Connection timed out"), ""), nil
	case "eof", "eof-after":
		return answer{eof: true}, wait()
	case "twice":
		a, err := outcome(cl, ctx, c)
		if err == nil && a.code == 200 {
			a.body = repeated(a.body, f.Text)
		}
		return a, err
	case "stopping": // as seen on a node of PVE 9.2.11
		return respond(c, refusal.Fail("%s", text("failed to read from command socket: Connection reset by peer"))), wait()
	case "error", "error-after":
		return respond(c, refusal.Fail("%s", text("got an error"))), wait()
	default: // slow
		if err := wait(); err != nil {
			return answer{}, err
		}
		return outcome(cl, ctx, c)
	}
}

// repeated is an answer whose list names each entry twice, the second time with another value.
func repeated(body []byte, change string) []byte {
	var wire map[string]json.RawMessage
	var list []map[string]json.RawMessage
	if json.Unmarshal(body, &wire) != nil || json.Unmarshal(wire["data"], &list) != nil {
		return body
	}
	key, value, changes := strings.Cut(change, "=")
	var twice []map[string]json.RawMessage
	for _, entry := range list {
		second := maps.Clone(entry)
		if _, there := entry[key]; there && changes {
			second[key], _ = json.Marshal(value)
		}
		twice = append(twice, entry, second)
	}
	wire["data"], _ = json.Marshal(twice)
	body, _ = json.Marshal(wire)
	return body
}

// outcome dispatches a call; an error is the caller's context that ended.
func outcome(cl *cluster.Cluster, ctx context.Context, c *request.Call) (answer, error) {
	err := Dispatch(ctx, c)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return answer{}, err
	}
	return respond(c, err), nil
}
