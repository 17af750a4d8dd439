package quote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/felhom/felhom-agent/quote"
)

const secret = "0f1e2d3c-4b5a-4968-8776-a5b4c3d2e1f0"

func TestText(t *testing.T) {
	quote.Secret(secret)
	quote.Secret(secret + "-and-longer")
	quote.Secret("short")
	for text, want := range map[string]string{
		"nothing to hide":                       "nothing to hide",
		"a " + secret + " b":                    "a ******** b",
		secret + "-and-longer":                  "********",
		"this is short":                         "this is short",
		"felhom@pve!agent=abc-def: no token id": "felhom@pve!agent=******** no token id",
		"PVEAPIToken=felhom@pve!agent=abc":      "PVEAPIToken=felhom@pve!agent=********",
		"felhom@pve!agent%3Dabc":                "felhom@pve!agent%3D********",
		`"felhom@pve!agent=abc" is wrong`:       `"felhom@pve!agent=********" is wrong`,
		"felhom@pve!agent lacks VM.Audit":       "felhom@pve!agent lacks VM.Audit",
		"done! a=b":                             "done! a=b",
	} {
		if got := quote.Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestBeside(t *testing.T) {
	const unknown = "11111111-2222-3333-4444-555555555555"
	for _, c := range []struct{ key, message, want string }{
		{"guests.web.vmid", `"x" is not a VMID`, `"x" is not a VMID`},
		{"guests.web.vmid", `"` + unknown + `" is not a VMID`, `"********" is not a VMID`},
		{"mounts.media.uuid", `"` + unknown + `" is declared twice`, `"` + unknown + `" is declared twice`},
		{"token_secret", `"x y" has a blank`, `"********" has a blank`},
		{"guests.web.config.password", `needs a number, "a\"b" is a text`, `needs a number, "********" is a text`},
		{"api_key", `"cut off…`, `"********"`},
	} {
		if got := quote.Beside(c.key, c.message); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.key, c.message, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain ő €":               "plain ő €",
		"a\nb\tc\rd":              `a\nb\tc\rd`,
		"\x1b[31mred\x1b[0m":      `\u001b[31mred\u001b[0m`,
		"\u009b31m \x7f":          `\u009b31m \u007f`,
		"\u202eevil\u2066\u200f":  `\u202eevil\u2066\u200f`,
		"\u2028x\u2029":           `\u2028x\u2029`,
		"\U000e0041":              `\udb40\udc41`,
		"not \xff utf-8":          "not \ufffd utf-8",
		"\x9b31m one byte of C1":  "\ufffd31m one byte of C1",
		"a back\\slash stays\\n.": `a back\slash stays\n.`,
	} {
		if got := quote.Line(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

type name string
type place struct{ file string }

func (p place) String() string { return p.file }

type number int

func (n number) String() string { return "many" }

func TestFprintf(t *testing.T) {
	got := quote.Sprintf("%s|%-4s|%v|%v|%s|%d|%v|%s\n", "a\nb", name("\x07"), errors.New("e\ne"), place{"f\x1b"}, []string{"x\ny"}, number(3), nil, quote.Own("one\ntwo"))
	if want := "a\\nb|\\u0007|e\\ne|f\\u001b|[x\\ny]|3|<nil>|one\ntwo\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWriter(t *testing.T) {
	quote.Secret(secret)
	const text = "ok \x1b[32mgreen\x1b[0m\n\x1b[3A\x1b[J\ttab \x1b]0;title\x07 \u202e\u009b \xff " + secret + "\n"
	for ansi, want := range map[bool]string{
		true:  "ok \x1b[32mgreen\x1b[0m\n\x1b[3A\x1b[J\ttab \\u001b]0;title\\u0007 \\u202e\\u009b \ufffd ********\n",
		false: "ok \\u001b[32mgreen\\u001b[0m\n\\u001b[3A\\u001b[J\ttab \\u001b]0;title\\u0007 \\u202e\\u009b \ufffd ********\n",
	} {
		var whole, pieces bytes.Buffer
		fmt.Fprint(quote.NewWriter(&whole, ansi), text)
		if whole.String() != want {
			t.Errorf("ansi %v: got  %q\nwant %q", ansi, whole.String(), want)
		}
		w := quote.NewWriter(&pieces, ansi)
		plain := strings.ReplaceAll(text, secret, "********")
		for i := range len(plain) {
			fmt.Fprint(w, plain[i:i+1])
		}
		if pieces.String() != want {
			t.Errorf("ansi %v, byte by byte: got  %q\nwant %q", ansi, pieces.String(), want)
		}
	}
}

// Whatever comes, one line comes out that no terminal obeys, and JSON stays the same JSON.
func FuzzLine(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff\U000e0001")
	f.Fuzz(func(t *testing.T, text string) {
		line := quote.Line(text)
		var written bytes.Buffer
		fmt.Fprint(quote.NewWriter(&written, false), text+"\n")
		for _, got := range []string{line, strings.NewReplacer("\n", "", "\t", "").Replace(written.String())} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
				return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
			}) {
				t.Fatalf("%q became %q", text, got)
			}
		}
		document, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		var passed bytes.Buffer
		quote.NewWriter(&passed, false).Write(document)
		var before, after map[string]string
		if json.Unmarshal(document, &before) != nil || json.Unmarshal(passed.Bytes(), &after) != nil || quote.Text(before["text"]) != after["text"] {
			t.Fatalf("%s became %s", document, passed.Bytes())
		}
	})
}
