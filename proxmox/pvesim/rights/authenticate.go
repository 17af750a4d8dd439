package rights

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

var tokenRE = regexp.MustCompile(`^([^\s:/]+@[A-Za-z][A-Za-z0-9._-]+)!([A-Za-z][A-Za-z0-9._-]+)[=: ]([^=]+)$`)

// Authenticate is the subject of an Authorization header and a cookie; without
// one, the text of the 401.
func (a *ACL) Authenticate(header, cookie string, now time.Time) (*Subject, string) {
	if cookie != "" {
		if w := a.Tickets[cookie]; w != "" {
			if who := a.Subject(w); who != nil {
				return who, ""
			}
		}
		return nil, "Authentication failed!"
	}
	if header == "" {
		return nil, "No ticket"
	}
	if w := a.auths[header]; w != nil && !a.expired(w, now) {
		return w, ""
	}
	rest, ok := strings.CutPrefix(header, "PVEAPIToken")
	if !ok || rest == "" || rest[0] != '=' && rest[0] != ' ' {
		return nil, "No ticket"
	}
	value, _, _ := strings.Cut(rest[1:], ";")
	if dec, err := url.PathUnescape(value); err == nil {
		value = dec
	}
	m := tokenRE.FindStringSubmatch(value)
	if m == nil {
		return nil, "Authentication failed!"
	}
	who := a.Subject(m[1] + "!" + m[2])
	if who == nil || who.Token == nil || who.Token.Secret != m[3] || a.expired(who, now) {
		return nil, "Authentication failed!"
	}
	a.auths[header] = who
	return who, ""
}

func (a *ACL) expired(w *Subject, at time.Time) bool {
	if a.subjects[w.ID] != w || w.User.Disabled {
		return true
	}
	now := at.Unix()
	return w.User.Expire > 0 && w.User.Expire <= now ||
		w.Token != nil && w.Token.Expire > 0 && w.Token.Expire <= now
}
