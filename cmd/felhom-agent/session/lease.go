package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
)

// A Lease is something that we live by and that ends: the token, the certificate of the API.
type Lease struct {
	What string    // "token", "certificate"
	End  time.Time // zero: never
	Fix  string
}

// The days before its end at which people are told of a lease.
var leaseDays = []int{14, 30}

// Urgent is the smallest number of days of leaseDays below which a lease is; 0: it is not.
func (l Lease) Urgent(now time.Time) int {
	if l.End.IsZero() {
		return 0
	}
	for _, days := range leaseDays {
		if l.End.Sub(now) <= time.Duration(days)*24*time.Hour {
			return days
		}
	}
	return 0
}

// Line says when it ends and what to do, where that is urgent; else "".
func (l Lease) Line(now time.Time) string {
	if l.Urgent(now) == 0 {
		return ""
	}
	left := fmt.Sprintf("in %s", Plural(int(math.Ceil(l.End.Sub(now).Hours()/24)), "day", "days"))
	if !l.End.After(now) {
		left = "it is over"
	}
	return fmt.Sprintf("The %s expires on %s (%s). %s", l.What, l.End.In(now.Location()).Format("Mon 2 Jan 2006 15:04"), left, l.Fix)
}

// Short is the words of the status: "Token expires: never".
func (l Lease) Short() string {
	switch {
	case l.What == "token" && l.End.IsZero():
		return "Token expires: never"
	case l.What == "token":
		return "Token expires: " + l.End.Format("2 Jan 2006")
	}
	return "Certificate: until " + l.End.Format("2 Jan 2006")
}

// Leases asks the node when the token and the certificate end. What cannot be found out is left out: it is
// no reason to do nothing.
func (n *Session) Leases(ctx context.Context) []Lease {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var all []Lease
	if info, err := n.Client.TokenInfo(ctx, n.Config.Token.ID()); err == nil {
		user, name, _ := strings.Cut(info.ID, "!")
		all = append(all, Lease{"token", info.Expire, fmt.Sprintf("PVE then answers like to a wrong secret. As root: pveum user token modify %s %s --expire 0; and pveum user modify %s --expire 0, if it is the user that expires", user, name, user)})
	}
	if n.World == nil { // a simulated node has no certificate
		if end, err := certificateEnd(ctx, n.Config.Url); err == nil {
			fix := "Renew it on the node"
			if place := n.Config.Places["fingerprint"]; place != "" {
				fix += ", and write the new one's fingerprint into " + place
			}
			all = append(all, Lease{"certificate", end, fix})
		}
	}
	return all
}

// Warnings are the lines of what ends soon.
func Warnings(all []Lease, now time.Time) []string {
	var lines []string
	for _, l := range all {
		if line := l.Line(now); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// WatchLeases looks once a day, and hands on what it finds.
func (n *Session) WatchLeases(ctx context.Context, found func([]Lease, time.Time)) {
	for {
		pause := 24 * time.Hour
		if all := n.Leases(ctx); len(all) > 0 {
			found(all, n.Clock())
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

// certificateEnd reads until when the certificate is valid that a server shows. Whether it is the right one
// is not asked here, and nothing is sent to it.
func certificateEnd(ctx context.Context, to string) (time.Time, error) {
	u, err := url.Parse(to)
	if err != nil {
		return time.Time{}, err
	}
	port := u.Port()
	if port == "" {
		port = "8006"
	}
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return time.Time{}, systemd.Filtered(err, to)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter, nil
}
