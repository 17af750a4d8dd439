package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// clockTolerance is how far the clocks may be apart. The agent lives by the node's; a large difference
// still says that one of the two machines is wrong.
const clockTolerance = 5 * time.Minute

func (t *selftest) clock(ctx context.Context) {
	at, err := t.view.NodeTime(ctx, t.node.Source.Node)
	if err != nil {
		t.fail("clock", "%v", err)
		return
	}
	zone, err := at.Location()
	if err != nil {
		t.fail("clock", "the node's time zone %q is not known here: %v", at.Zone, err)
		return
	}
	name := zone.String()
	if name != at.Zone { // until somebody does, summer time is known only when it has come
		name += " (`timedatectl set-timezone` on the node would give it a name)"
	}
	now := time.Unix(at.Unix, 0).In(zone)
	if t.node.World != nil {
		t.ok("clock", "%s, time zone %s; it is simulated", now.Format("Mon 2 Jan 2006 15:04:05"), name)
		return
	}
	apart := time.Since(now).Round(time.Second)
	if apart.Abs() > clockTolerance {
		t.fail("clock", "the node says %s (%s), this machine is %s %s: set the wrong one right (chrony)", now.Format("Mon 2 Jan 2006 15:04:05"), name, apart.Abs(), ahead(apart))
		return
	}
	t.ok("clock", "%s, time zone %s, this machine is %s %s", now.Format("Mon 2 Jan 2006 15:04:05"), name, apart.Abs(), ahead(apart))
}

func ahead(d time.Duration) string {
	if d < 0 {
		return "behind"
	}
	return "ahead"
}

func (t *selftest) expiry(ctx context.Context) {
	info, err := t.view.TokenInfo(ctx, t.node.Config.Token.ID())
	switch {
	case err != nil:
		t.fail("token", "%v", err)
	case info.Expire.IsZero():
		t.ok("token", "never expires")
	case info.Expire.Before(t.view.Now().Add(14 * 24 * time.Hour)):
		user, name, _ := strings.Cut(t.node.Config.Token.ID(), "!")
		t.fail("token", "expires on %s; PVE will then say the same as to a wrong one. Let it last: pveum user token modify %s %s --expire 0",
			info.Expire.Format("Mon 2 Jan 2006 15:04"), user, name)
	default:
		t.ok("token", "expires on %s", info.Expire.Format("Mon 2 Jan 2006"))
	}
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.Round(time.Minute).String()
}
