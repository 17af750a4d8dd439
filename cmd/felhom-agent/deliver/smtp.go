package deliver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

// mostAnswers is how much a mail server may say.
const mostAnswers = 256 << 10

// mail hands a message to a mail server. Either all recipients are taken, or it fails before anything is sent to any.
func mail(ctx context.Context, s *config.Service, m Message) error {
	host, _, err := net.SplitHostPort(s.Server)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	dialed, err := dialer.DialContext(ctx, "tcp", s.Server)
	if err != nil {
		return err
	}
	defer dialed.Close()
	defer context.AfterFunc(ctx, func() { dialed.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		_ = dialed.SetDeadline(deadline)
	}
	var conn net.Conn = &bounded{Conn: dialed, left: mostAnswers}
	secure := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.TLS == config.TLSImplicit {
		conn = tls.Client(conn, secure)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return said(s, "its greeting", err)
	}
	if s.TLS == config.TLSStart {
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return errors.New("it offers no STARTTLS, and nothing is sent without encryption")
		}
		if err := client.StartTLS(secure); err != nil {
			return said(s, "STARTTLS", err)
		}
	}
	if s.User != "" {
		if err := client.Auth(smtp.PlainAuth("", s.User, s.Secret.Reveal(), host)); err != nil {
			return said(s, "the login", err)
		}
	}
	if err := client.Mail(s.From); err != nil {
		return said(s, "the sender "+s.From, err)
	}
	for _, to := range s.To {
		if err := client.Rcpt(to); err != nil {
			return said(s, "the recipient "+to, err)
		}
	}
	data, err := client.Data()
	if err == nil {
		if _, err = data.Write(letter(s, m)); err == nil {
			err = data.Close()
		}
	}
	if err != nil {
		return said(s, "the message", err)
	}
	_ = client.Quit() // it has taken the message
	return nil
}

// said is an error of a mail server, with the beginning of its words.
func said(s *config.Service, what string, err error) error {
	var refused *textproto.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("%s is refused with %d; it said: %q", what, refused.Code, short(s, refused.Msg))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// letter is the message as it is sent. One that is sent twice has the same ID.
func letter(s *config.Service, m Message) []byte {
	var b bytes.Buffer
	domain := s.From[strings.LastIndexByte(s.From, '@')+1:]
	id := sha256.Sum256(append(m.JSON, s.Name...))
	for _, line := range [][2]string{
		{"From", s.From}, {"To", strings.Join(s.To, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", m.Title)},
		{"Date", m.Time.Format(time.RFC1123Z)}, {"Message-ID", fmt.Sprintf("<%x@%s>", id[:16], domain)},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", line[0], line[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n") + "\r\n")) // into memory
	_ = body.Close()
	return b.Bytes()
}

// bounded is a connection that gives no more than left bytes.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("its answers are too long")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
