package reconcile

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A front stands before a simulated node and changes what goes to and fro: for what real
// nodes have and the simulated one has not.
type front struct {
	next http.RoundTripper
	// ask rewrites each text of a request: its path and the values of its parameters.
	ask func(text string) string
	// answer rewrites the answer to a request; path is below /api2/json.
	answer func(method, path string, res *http.Response, body []byte) []byte
}

func (f *front) RoundTrip(req *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(req.URL.Path, "/api2/json")
	if f.ask != nil {
		req = req.Clone(req.Context())
		rewrite := func(form string) string {
			values, err := url.ParseQuery(form)
			if err != nil {
				panic(err)
			}
			for _, list := range values {
				for i := range list {
					list[i] = f.ask(list[i])
				}
			}
			return values.Encode()
		}
		req.URL.Path, req.URL.RawPath, req.URL.RawQuery = f.ask(req.URL.Path), "", rewrite(req.URL.RawQuery)
		if req.Body != nil && req.Body != http.NoBody {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			form := rewrite(string(body))
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
		}
	}
	res, err := f.next.RoundTrip(req)
	if err != nil || f.answer == nil {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	body = f.answer(req.Method, path, res, body)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// newFrontBench is a bench whose agent sees the node through a front.
func newFrontBench(t testing.TB, sim *pvesim.Sim, f *front, options ...func(*Options)) *bench {
	t.Helper()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	f.next = sim
	client, err := proxmox.New(proxmox.Options{Transport: f, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, sim, append(options, func(o *Options) { o.Client = client })...)
	b.client = client
	return b
}

// relist rewrites an answer that is a list of objects.
func relist(t testing.TB, body []byte, change func([]map[string]any) []map[string]any) []byte {
	t.Helper()
	var envelope struct {
		Data  []map[string]any `json:"data"`
		Total any              `json:"total,omitempty"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Errorf("no list: %v: %s", err, body)
		return body
	}
	envelope.Data = change(envelope.Data)
	out, err := json.Marshal(envelope)
	if err != nil {
		t.Error(err)
	}
	return out
}
