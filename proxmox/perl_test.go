package proxmox

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPerlScalars holds that every recorded answer is read alike when its numbers come
// as strings, as they do from other versions of PVE, and that a field which is null or
// missing makes nothing worse than an AnswerError.
func TestPerlScalars(t *testing.T) {
	compared, without := 0, map[string]bool{}
	for _, e := range recorded(t) {
		path, err := url.PathUnescape(strings.TrimPrefix(e.Path, "/api2/json"))
		path, _, _ = strings.Cut(path, "?")
		var answer map[string]any
		if err != nil || e.Method != "GET" || !strings.Contains(e.StatusLine, " 200 ") || json.Unmarshal([]byte(e.Response), &answer) != nil {
			continue
		}
		for _, r := range readers {
			if !r.form.MatchString(path) {
				continue
			}
			plain, err := r.read(replay(t, e), t)
			if err != nil {
				continue
			}
			text := e
			text.Response = asJSON(t, strung(answer))
			if got, err := r.read(replay(t, text), t); err != nil {
				t.Errorf("%s: with strings for numbers: %v", e.Name, err)
			} else if diff := cmp.Diff(plain, got); diff != "" {
				t.Errorf("%s: with strings for numbers:\n%s", e.Name, diff)
			}
			compared++
			for _, field := range fieldsOf(answer["data"]) {
				for _, gone := range []bool{true, false} {
					text.Response = asJSON(t, map[string]any{"data": lacking(answer["data"], field, gone)})
					_, err := r.read(replay(t, text), t)
					var odd *AnswerError
					if err != nil && !errors.As(err, &odd) {
						t.Errorf("%s: without %s: %T %v", e.Name, field, err, err)
					}
					if err != nil {
						without[field] = true
					}
				}
			}
		}
	}
	if compared < 150 {
		t.Errorf("only %d answers compared: is something skipped?", compared)
	}
	// What names a thing or decides about one; of all else PVE may leave out what it likes.
	identity := strings.Fields("digest hasFeature id iface key name node status storage time type upid value version vmid volid")
	if diff := cmp.Diff(identity, slices.Sorted(maps.Keys(without))); diff != "" {
		t.Errorf("fields without which an answer is refused:\n%s", diff)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// strung is JSON with strings for its numbers.
func strung(v any) any {
	switch v := v.(type) {
	case float64:
		text, _ := json.Marshal(v)
		return string(text)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = strung(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = strung(v[key])
		}
		return out
	}
	return v
}

// fieldsOf are the names of an object's fields, or of those in a list of objects.
func fieldsOf(v any) []string {
	seen := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			seen[key] = true
		}
	case []any:
		for _, item := range v {
			for _, key := range fieldsOf(item) {
				seen[key] = true
			}
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// lacking is JSON without a field, or with null in it.
func lacking(v any, field string, gone bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			if key != field {
				out[key] = v[key]
			} else if !gone {
				out[key] = nil
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = lacking(v[i], field, gone)
		}
		return out
	}
	return v
}
