package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

// What is read of an answer.
const (
	mostHeader = 64 << 10
	mostBody   = 16 << 10
)

// mostText is less than the 4,096 bytes above which ntfy makes an attachment of a message.
const mostText = 3500

// urgency is how loud a message is: 2 wants a person, 1 says something, 0 is for the record.
func urgency(event string) int {
	switch event {
	case "failed", "overdue", "blocked":
		return 2
	case "daily", "pass":
		return 0
	}
	return 1
}

func ntfy(ctx context.Context, s *config.Service, m Message) error {
	u, err := url.Parse(s.URL.Reveal())
	if err != nil {
		return errors.New("invalid URL")
	}
	path := strings.TrimSuffix(u.Path, "/")
	cut := strings.LastIndexByte(path, '/')
	topic := path[cut+1:]
	u.Path, u.RawPath = path[:cut+1], ""
	return post(ctx, s, u, bearer(s), map[string]any{"topic": topic, "title": m.Title, "message": clip(m.Text), "priority": 2 + urgency(m.Event)})
}

func gotify(ctx context.Context, s *config.Service, m Message) error {
	u, err := url.Parse(s.URL.Reveal())
	if err != nil {
		return errors.New("invalid URL")
	}
	header := http.Header{"X-Gotify-Key": {s.Secret.Reveal()}}
	return post(ctx, s, u.JoinPath("message"), header, map[string]any{"title": m.Title, "message": clip(m.Text), "priority": []int{2, 5, 8}[urgency(m.Event)]})
}

func webhook(ctx context.Context, s *config.Service, m Message) error {
	u, err := url.Parse(s.URL.Reveal())
	if err != nil {
		return errors.New("invalid URL")
	}
	return post(ctx, s, u, bearer(s), json.RawMessage(m.JSON))
}

// ping tells a dead man's switch: the URL itself is "well", below it /fail is "not well" and /log is neither.
func ping(ctx context.Context, s *config.Service, m Message) error {
	u, err := url.Parse(s.URL.Reveal())
	if err != nil {
		return errors.New("invalid URL")
	}
	switch {
	case m.Log:
		u = u.JoinPath("log")
	case m.Fail:
		u = u.JoinPath("fail")
	}
	return send(ctx, s, u, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(clip(m.Text)))
}

func bearer(s *config.Service) http.Header {
	if s.Secret.Reveal() == "" {
		return http.Header{}
	}
	return http.Header{"Authorization": {"Bearer " + s.Secret.Reveal()}}
}

func clip(text string) string {
	if len(text) > mostText {
		return strings.ToValidUTF8(text[:mostText], "") + "..."
	}
	return text
}

func post(ctx context.Context, s *config.Service, to *url.URL, header http.Header, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	header.Set("Content-Type", "application/json")
	return send(ctx, s, to, header, body)
}

// send posts, and follows no redirect: what is sent holds a secret, and is for one host alone.
func send(ctx context.Context, s *config.Service, to *url.URL, header http.Header, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("invalid URL")
	}
	header.Set("User-Agent", "felhom-agent")
	request.Header = header
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: mostHeader,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return cause(err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode/100 == 2:
		return nil
	case answer.StatusCode/100 == 3:
		return fmt.Errorf("it answers %d, a redirect%s, which is not followed: put the new address into the url, if you trust it", answer.StatusCode, redirect(answer))
	}
	said, _ := io.ReadAll(io.LimitReader(answer.Body, mostBody)) // what was read counts
	hint := ""
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = " (is the token right, and may it write there?)"
	case http.StatusNotFound:
		hint = " (is the url right?)"
	}
	return fmt.Errorf("it answers %d%s; it said: %q", answer.StatusCode, hint, short(s, string(said)))
}

// redirect names the host of a redirect; its path may be the secret, sent back.
func redirect(answer *http.Response) string {
	to, err := answer.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	return fmt.Sprintf(" to %s://%s", to.Scheme, to.Host)
}
