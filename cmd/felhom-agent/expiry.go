package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// A lease is something that we live by and that ends: the token, the certificate of the API.
type lease struct {
	what string    // "token", "certificate"
	end  time.Time // zero: never
	cure string
}

// The days before its end at which people are told of a lease.
var leaseDays = []int{14, 30}

// urgent is the smallest number of days of leaseDays below which a lease is; 0: it is not.
func (l lease) urgent(now time.Time) int {
	if l.end.IsZero() {
		return 0
	}
	for _, days := range leaseDays {
		if l.end.Sub(now) <= time.Duration(days)*24*time.Hour {
			return days
		}
	}
	return 0
}

// line says when it ends and what to do, where that is urgent; else "".
func (l lease) line(now time.Time) string {
	if l.urgent(now) == 0 {
		return ""
	}
	left := fmt.Sprintf("in %s", plural(int(math.Ceil(l.end.Sub(now).Hours()/24)), "day", "days"))
	if !l.end.After(now) {
		left = "it is over"
	}
	return fmt.Sprintf("The %s expires on %s (%s). %s", l.what, l.end.In(now.Location()).Format("Mon 2 Jan 2006 15:04"), left, l.cure)
}

// short is the words of the status: "Token expires: never".
func (l lease) short() string {
	switch {
	case l.what == "token" && l.end.IsZero():
		return "Token expires: never"
	case l.what == "token":
		return "Token expires: " + l.end.Format("2 Jan 2006")
	}
	return "Certificate: until " + l.end.Format("2 Jan 2006")
}

// leases asks the node when the token and the certificate end. What cannot be found out is left out: it is
// no reason to do nothing.
func (n *node) leases(ctx context.Context) []lease {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var all []lease
	if info, err := n.client.TokenInfo(ctx, n.config.token.ID()); err == nil {
		user, name, _ := strings.Cut(info.ID, "!")
		all = append(all, lease{"token", info.Expire, fmt.Sprintf("PVE then answers like to a wrong secret. As root: pveum user token modify %s %s --expire 0; and pveum user modify %s --expire 0, if it is the user that expires", user, name, user)})
	}
	if n.world == nil { // a simulated node has no certificate
		if end, err := certificateEnd(ctx, n.config.url); err == nil {
			cure := "Renew it on the node"
			if place := n.config.places["fingerprint"]; place != "" {
				cure += ", and write the new one's fingerprint into " + place
			}
			all = append(all, lease{"certificate", end, cure})
		}
	}
	return all
}

// warnings are the lines of what ends soon.
func warnings(all []lease, now time.Time) []string {
	var lines []string
	for _, l := range all {
		if line := l.line(now); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// warnOfLeases prints what ends soon below what a mode has printed.
func (n *node) warnOfLeases(ctx context.Context, cmd *command, con *console) {
	for _, line := range warnings(n.leases(ctx), n.clock()) {
		if cmd.json {
			con.say("%s", line)
		} else {
			fmt.Fprintln(con.stdout, line)
		}
	}
}

// clock is the node's, as far as it is known.
func (n *node) clock() time.Time {
	if now := n.client.Clock(); !now.IsZero() {
		return now
	}
	return time.Now()
}

// watchLeases looks once a day, and hands on what it finds.
func (n *node) watchLeases(ctx context.Context, found func([]lease, time.Time)) {
	for {
		pause := 24 * time.Hour
		if all := n.leases(ctx); len(all) > 0 {
			found(all, n.clock())
		} else {
			pause = time.Hour // the node was away
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
