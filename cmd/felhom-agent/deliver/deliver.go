package deliver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/quote"
)

// A Message is what a service is told.
type Message struct {
	Event string // as in the document of a notice
	Title string // one line
	Text  string // some lines
	Time  time.Time
	JSON  []byte // the whole document, for web hooks
	Fail  bool   // of a ping: all is not well
	Log   bool   // of a ping: it says nothing of how things are
}

// Deadline is how long a service has to take a message.
const Deadline = 10 * time.Second

// Send sends a message, once. A nil error means that the service has taken it.
func Send(ctx context.Context, s *config.Service, m Message) error {
	if s.Missing != nil {
		return s.Missing
	}
	limited, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	var err error
	switch s.Type {
	case config.Ntfy:
		err = ntfy(limited, s, m)
	case config.Gotify:
		err = gotify(limited, s, m)
	case config.Webhook:
		err = webhook(limited, s, m)
	case config.SMTP:
		err = mail(limited, s, m)
	case config.Ping:
		err = ping(limited, s, m)
	default:
		err = fmt.Errorf("unknown type %q", s.Type)
	}
	if err == nil {
		return nil
	}
	if limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %s: %w", Deadline, err)
	}
	return &failure{hide(s, s.Host()+": "+err.Error()), err}
}

// failure is an error whose text has no secret.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// hide takes the secrets of a service out of a text, in each form in which they are sent, however short they are.
func hide(s *config.Service, text string) string {
	secret := s.Secret.Reveal()
	var hidden []string
	if u, err := url.Parse(s.URL.Reveal()); err == nil && len(u.Path) > 4 { // a shorter one is no secret, and would be found in words
		hidden = append(hidden, u.String(), u.RequestURI(), strings.Trim(u.Path, "/"))
	}
	hidden = append(hidden, secret, base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00"+s.User+"\x00"+secret)), url.QueryEscape(secret), url.PathEscape(secret))
	for _, form := range hidden {
		if form != "" {
			text = strings.ReplaceAll(text, form, quote.Hidden)
		}
	}
	return quote.Line(text)
}

// cause is the error of a request without its URL, which may be a secret.
func cause(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// short is the beginning of what a server said.
func short(s *config.Service, text string) string {
	const most = 200
	text = hide(s, strings.Join(strings.Fields(text), " "))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
