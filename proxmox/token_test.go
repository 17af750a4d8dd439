package proxmox

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"
)

const redacted = "felhom@pve!agent=********"

// TestTheSecretCannotBePrinted pushes a token, alone and inside of other
// things, through all that a program may show a value with.
func TestTheSecretCannotBePrinted(t *testing.T) {
	token := testToken(t)
	type exported struct {
		Name  string
		Token Token
	}
	type hidden struct{ token Token }
	values := map[string]any{
		"token": token, "pointer": &token, "struct": exported{"x", token}, "pointer to struct": &exported{"x", token},
		"slice": []Token{token}, "map": map[string]Token{"a": token}, "interface": []any{token}, "hidden": hidden{token}, "pointer to hidden": &hidden{token},
		"options": Options{URL: "https://pve1", Token: token}, "client": testClient(t, fake(nil)),
	}
	shown := map[string]string{}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%!"} {
			shown[name+" "+verb] = fmt.Sprintf(verb, value)
		}
		shown[name+" Sprint"] = fmt.Sprint(value)
		shown[name+" error"] = fmt.Errorf("with %v: %w", value, errors.New("x")).Error()

		for _, json := range []func(any) ([]byte, error){json.Marshal, func(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") }} {
			text, _ := json(value)
			shown[name+" JSON"] += string(text)
		}
		if text, err := xml.Marshal(value); err == nil {
			shown[name+" XML"] = string(text)
		}
		var coded bytes.Buffer
		gob.NewEncoder(&coded).Encode(value)
		shown[name+" gob"] = coded.String()
		if name != "client" && name != "options" { // yaml.v3 panics at functions
			text, err := yaml.Marshal(value)
			if err != nil {
				t.Errorf("%s: YAML: %v", name, err)
			}
			shown[name+" YAML"] = string(text)
		}

		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		shown[name+" slog"] = log.String()
		for _, encoder := range []zapcore.Encoder{zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())} {
			var out bytes.Buffer
			logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
			logger.Info("x", zap.Any("any", value), zap.Reflect("reflect", value))
			logger.Sugar().Infow("x", "value", value)
			logger.Sugar().Infof("%v %+v %#v", value, value, value)
			shown[name+" zap"] += out.String()
		}
	}
	hex := fmt.Sprintf("%x", testSecret)
	for where, text := range shown {
		if strings.Contains(text, testSecret) || strings.Contains(strings.ToLower(text), hex) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
	for _, where := range []string{
		"token %v", "token %+v", "token %#v", "token %s", "token %d", "token JSON", "token YAML", "token slog", "token zap", "token Sprint",
		"struct %v", "struct %+v", "struct %#v", "struct JSON", "struct YAML", "struct zap", "pointer %v", "map JSON", "slice %v", "token XML",
	} {
		if !strings.Contains(shown[where], redacted) {
			t.Errorf("%s does not show whose token it is: %q", where, shown[where])
		}
	}
	if got := token.Redacted(); got != redacted {
		t.Error(got)
	}
	if token.ID() != "felhom@pve!agent" || token.User() != "felhom@pve" || token.IsRoot() {
		t.Errorf("%s of %s, root %v", token.ID(), token.User(), token.IsRoot())
	}
	if root, err := NewToken("root@pam!lab", "x"); err != nil || !root.IsRoot() {
		t.Error("a token of root@pam is not seen", err)
	}
	if s := fmt.Sprint(Token{}); s != "" {
		t.Errorf("no token prints %q", s)
	}
}

// TestTheSecretIsNotInErrors: whatever goes wrong with a request.
func TestTheSecretIsNotInErrors(t *testing.T) {
	for _, rt := range []fake{
		func(*http.Request) (*http.Response, error) { return response("401 Authentication failed!", ""), nil },
		func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s failed", r.URL) },
		func(r *http.Request) (*http.Response, error) {
			return response("200 OK", "<html>"+r.URL.String()), nil
		},
	} {
		_, err := testClient(t, rt, func(o *Options) { o.Retries = -1 }).Start(t.Context(), "pve1", 100)
		if err == nil || strings.Contains(fmt.Sprintf("%+v %#v", err, err), testSecret) {
			t.Errorf("%+v", err)
		}
	}
}

// PVE decodes percent signs in the header.
func TestTokenHeader(t *testing.T) {
	token, err := NewToken("felhom@pve!agent", "a%41b+c=d")
	if got := token.header(); err != nil || got != "PVEAPIToken=felhom@pve!agent=a%2541b+c=d" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestNewToken(t *testing.T) {
	for _, id := range []string{"felhom@pve!agent", "root@pam!lab", "a.b@corp-ad!t1", "x@y.example@ldap!ci"} {
		if _, err := NewToken(id, testSecret); err != nil {
			t.Error(err)
		}
	}
	for id, secret := range map[string]string{
		"felhom@pve": testSecret, "felhom!agent": testSecret, "": testSecret, "felhom@pve!a": testSecret, "felhom@pve!1ab": testSecret,
		"felhom@pve!agent=" + testSecret: testSecret, "felhom@pve!agent": "", "felhom@pve!agent2": "two words", "felhom@pve!agent3": "x\r\nHost: y", "felhom@pve!agent4": "a;b",
		"felhom@pve!agent5": "felhom@pve!agent5=" + testSecret, "felhom@pve!agent6": "PVEAPIToken=felhom@pve!agent6=" + testSecret,
	} {
		if token, err := NewToken(id, secret); err == nil || strings.Contains(err.Error(), testSecret) && !strings.Contains(id, testSecret) {
			t.Errorf("%q passes as %v, %v", id, token, err)
		}
	}
}
