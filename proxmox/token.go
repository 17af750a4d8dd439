package proxmox

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// Token is an API token: its id USER@REALM!NAME and its secret. However it is
// printed or encoded, it shows its id only.
type Token struct {
	id string
	// The secret is inside a function: reflection cannot look into it, so that
	// not even a printed struct that holds a Token unexported can show it.
	secret func() string
}

var (
	tokenForm  = regexp.MustCompile(`^[^\s:/!@]+(?:@[^\s:/!@]+)*@[A-Za-z][A-Za-z0-9._-]+![A-Za-z][A-Za-z0-9._-]+$`)
	secretForm = regexp.MustCompile(`^[!-~]+$`)
)

// NewToken takes the two parts that PVE shows when a token is made: the full
// token id, such as felhom@pve!agent, and the secret.
func NewToken(id, secret string) (Token, error) {
	if !tokenForm.MatchString(id) {
		return Token{}, fmt.Errorf("invalid token ID %q: expected USER@REALM!NAME, for example felhom@pve!agent (the name has at least two characters)", id)
	}
	switch {
	case secret == "":
		return Token{}, fmt.Errorf("the secret of token %s is empty: it was shown once when the token was made; make a new token if it is lost", id)
	case !secretForm.MatchString(secret) || strings.Contains(secret, ";"):
		return Token{}, fmt.Errorf("the secret of token %s contains a space or another invalid character: copy only the secret itself", id)
	case strings.Contains(secret, id):
		return Token{}, fmt.Errorf("the secret of token %s holds the token's name: copy only the secret itself, without %s=", id, id)
	}
	return Token{id: id, secret: func() string { return secret }}, nil
}

// ID is the full token id: felhom@pve!agent.
func (t Token) ID() string { return t.id }

// User is the token's owner: felhom@pve.
func (t Token) User() string {
	user, _, _ := strings.Cut(t.id, "!")
	return user
}

// IsRoot tells that the token belongs to root@pam. Such a token is still not
// root: keyctl, bind mounts, device passthrough and hook scripts stay
// forbidden to it.
func (t Token) IsRoot() bool { return t.User() == "root@pam" }

// Redacted is what a Token shows of itself: felhom@pve!agent=********.
func (t Token) Redacted() string {
	if t.secret == nil {
		return t.id
	}
	return t.id + "=********"
}

func (t Token) String() string                 { return t.Redacted() }
func (t Token) GoString() string               { return fmt.Sprintf("proxmox.Token(%q)", t.Redacted()) }
func (t Token) LogValue() slog.Value           { return slog.StringValue(t.Redacted()) }
func (t Token) MarshalText() ([]byte, error)   { return []byte(t.Redacted()), nil }
func (t Token) MarshalYAML() (any, error)      { return t.Redacted(), nil }
func (t Token) MarshalJSON() ([]byte, error)   { return fmt.Appendf(nil, "%q", t.Redacted()), nil }
func (t Token) MarshalBinary() ([]byte, error) { return nil, errors.New("a token is not to be stored") }
func (t Token) GobEncode() ([]byte, error)     { return t.MarshalBinary() }

// Format shows the redacted form for every verb.
func (t Token) Format(state fmt.State, verb rune) {
	if verb == 'v' && state.Flag('#') {
		io.WriteString(state, t.GoString())
		return
	}
	io.WriteString(state, t.Redacted())
}

// header is the value of the Authorization header, the only place to which the
// secret goes. PVE decodes percent signs in it.
func (t Token) header() string {
	if t.secret == nil {
		return ""
	}
	return "PVEAPIToken=" + strings.ReplaceAll(t.id+"="+t.secret(), "%", "%25")
}
