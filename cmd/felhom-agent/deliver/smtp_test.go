package deliver_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/deliver"
)

// mailServer answers each command with what answer says, or as a mail server would that takes everything. It returns its
// address and what it was told.
func mailServer(t *testing.T, answer func(command string) string) (address string, told func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	done := make(chan string, 1)
	go func() {
		var all strings.Builder
		defer func() { done <- all.String() }()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		say := func(command, usual string) bool {
			if special := answer(command); special != "" {
				usual = special
			}
			_, err := io.WriteString(conn, usual+"\r\n")
			return err == nil
		}
		if !say("", "220 mail.example.org") {
			return
		}
		data := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			all.WriteString(line + "\n")
			word, _, _ := strings.Cut(line, " ")
			switch {
			case data && line != ".":
				continue
			case data:
				data = false
				say("message", "250 taken")
			case word == "DATA":
				data = say(word, "354 go on")
			case word == "EHLO":
				say(word, "250-mail.example.org\r\n250 AUTH PLAIN")
			case word == "AUTH":
				say(word, "235 welcome")
			case word == "QUIT":
				say(word, "221 bye")
				return
			default:
				say(word, "250 ok")
			}
		}
	}()
	return listener.Addr().String(), func() string { return <-done }
}

const mailService = `{services: [{type: smtp, server: "ADDRESS", from: Felhom <felhom@example.org>, to: [a@example.org, b@example.org], user: felhom, password_file: FILE}]}`

// A mail arrives whole: its recipients, its subject, its text.
func TestMail(t *testing.T) {
	address, told := mailServer(t, func(string) string { return "" })
	s := serviceOf(t, strings.ReplaceAll(mailService, "ADDRESS", address))
	m := message
	m.Title = "pve1: ü failed"
	m.Text += "\n.\nRCPT TO:<evil@example.org>\n" + strings.Repeat("long ", 300)
	if err := deliver.Send(t.Context(), s, m); err != nil {
		t.Fatal(err)
	}
	got := told()
	login := base64.StdEncoding.EncodeToString([]byte("\x00felhom\x00" + token))
	for _, want := range []string{"AUTH PLAIN " + login, "MAIL FROM:<felhom@example.org>", "RCPT TO:<a@example.org>\nRCPT TO:<b@example.org>\nDATA"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	_, letter, _ := strings.Cut(got, "DATA\n")
	letter, _, _ = strings.Cut(letter, "\n.\nQUIT")
	read, err := mail.ReadMessage(strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	body, _ := io.ReadAll(quotedprintable.NewReader(read.Body))
	text := strings.ReplaceAll(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n..\n", "\n.\n")
	if err != nil || subject != m.Title || strings.TrimSpace(text) != strings.TrimSpace(m.Text) {
		t.Errorf("subject %q (%v), text %q", subject, err, text)
	}
	for _, line := range strings.Split(letter, "\n") {
		if len(line) > 998 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	for key, want := range map[string]string{"Date": "Sun, 22 Nov 2026 06:00:00 +0000", "Auto-Submitted": "auto-generated", "To": "a@example.org, b@example.org"} {
		if read.Header.Get(key) != want {
			t.Errorf("%s: %q", key, read.Header.Get(key))
		}
	}
}

// What a mail server refuses is said in its words, without a secret, and nothing is sent to anybody.
func TestMailRefused(t *testing.T) {
	login := base64.StdEncoding.EncodeToString([]byte("\x00felhom\x00" + token))
	for command, c := range map[string]struct{ answer, want string }{
		"":        {"554 go away " + token, "its greeting is refused with 554"},
		"AUTH":    {"535 wrong: " + token + " " + login, "the login is refused with 535"},
		"MAIL":    {"550 not you", `the sender felhom@example.org is refused with 550; it said: "not you"`},
		"RCPT":    {"550 no such user", `the recipient a@example.org is refused with 550; it said: "no such user"`},
		"message": {"554 spam\x1b[2J " + token, "the message is refused with 554"},
		"EHLO":    {"250-" + strings.Repeat("250-"+token+"\r\n", 1<<16), "its answers are too long"},
	} {
		address, _ := mailServer(t, func(got string) string {
			if got == command {
				return c.answer
			}
			return ""
		})
		s := serviceOf(t, strings.ReplaceAll(mailService, "ADDRESS", address))
		err := deliver.Send(t.Context(), s, message)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", command, err, c.want)
			continue
		}
		for _, hidden := range []string{token, login, "\x1b"} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%q: %q is shown: %q", command, hidden, err)
			}
		}
	}
}

// A login is never sent without encryption to another machine, and a server that offers none is told nothing.
func TestMailEncrypted(t *testing.T) {
	address, told := mailServer(t, func(string) string { return "" })
	s := serviceOf(t, strings.ReplaceAll(mailService, "ADDRESS", address))
	s.TLS = "starttls"
	if err := deliver.Send(t.Context(), s, message); err == nil || !strings.Contains(err.Error(), "it offers no STARTTLS") {
		t.Errorf("%v", err)
	}
	if got := told(); strings.Contains(got, "AUTH") || strings.Contains(got, "MAIL") {
		t.Errorf("it was told: %s", got)
	}
}

// A mail server that says nothing is left when the context ends.
func TestMailSilent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			defer conn.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	s := serviceOf(t, strings.ReplaceAll(mailService, "ADDRESS", listener.Addr().String()))
	if err := deliver.Send(ctx, s, message); err == nil {
		t.Error("nothing was said, and it was taken")
	}
}
