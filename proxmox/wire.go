package proxmox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// PVE is written in Perl, which does not keep numbers and strings apart: any
// scalar may come as either. These types take both.

// number is an integer.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	s, err := scalar(b)
	if err != nil || s == "" {
		return err
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, floatErr := strconv.ParseFloat(s, 64)
		if floatErr != nil || math.IsNaN(f) || f >= math.MaxInt64 || f <= math.MinInt64 {
			return fmt.Errorf("%q is not an integer", s)
		}
		i = int64(f)
	}
	*n = number(i)
	return nil
}

// decimal is a number with a fraction.
type decimal float64

func (d *decimal) UnmarshalJSON(b []byte) error {
	s, err := scalar(b)
	if err != nil || s == "" {
		return err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%q is not a number", s)
	}
	*d = decimal(f)
	return nil
}

// flag is a boolean: 1, 0, "1", "0", true, false or absent.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	s, err := scalar(b)
	if err != nil {
		return err
	}
	v, ok := parseBool(s)
	if !ok && s != "" {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	*f = v == "1"
	return nil
}

// text is a string.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	s, err := scalar(b)
	if err == nil {
		*t = text(s)
	}
	return err
}

// scalar is any JSON scalar as PVE would write it in a config; null is "".
func scalar(b []byte) (string, error) {
	switch b[0] {
	case '"':
		if bare := b[1 : len(b)-1]; utf8.Valid(bare) && bytes.IndexByte(bare, '\\') < 0 {
			return string(bare), nil // the usual case, quickly
		}
		var s string
		err := json.Unmarshal(b, &s)
		return s, err
	case '{', '[':
		return "", fmt.Errorf("expected a single value, got %s", excerpt(b))
	}
	switch s := string(b); s {
	case "null":
		return "", nil
	case "true":
		return "1", nil
	case "false":
		return "0", nil
	default:
		return s, nil
	}
}

// odd is an entry of a list whose oddness is not that of the list.
type odd[T any] struct {
	value T
	err   error
	raw   []byte // with err
}

func (o *odd[T]) UnmarshalJSON(b []byte) error {
	if o.err = json.Unmarshal(b, &o.value); o.err != nil {
		o.raw = bytes.Clone(b)
	}
	return nil
}

func unix(n number) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

func seconds(n number) time.Duration {
	return time.Duration(min(n, math.MaxInt64/number(time.Second))) * time.Second
}

// list splits a list of words at commas, semicolons and blanks, as PVE does.
func list(s text) []string {
	return strings.FieldsFunc(string(s), func(r rune) bool {
		return r == ',' || r == ';' || r == ' ' || r == '\t' || r == 0
	})
}

// What an answer may hold. An entry costs some hundred bytes more than its text, so
// that 32 MiB of "{}," would cost gigabytes. Ten thousand guests or archives are
// 10,000 entries of 25 values.
const (
	mostObjects = 100_000
	mostValues  = 2_000_000
)

// tooMany refuses an answer that holds more.
func tooMany(r *reply) error {
	if bytes.Count(r.body, []byte("{")) > mostObjects || bytes.Count(r.body, []byte(",")) > mostValues {
		return r.fault("it has more than %d entries or %d values", mostObjects, mostValues)
	}
	return nil
}

// decode reads an answer: its data, which must be there, and how many entries PVE
// says there are in all, of which a page may show fewer.
func decode[T any](r *reply) (data T, total int, err error) {
	if err := tooMany(r); err != nil {
		return data, 0, err
	}
	if list := reflect.ValueOf(&data).Elem(); list.Kind() == reflect.Slice { // room for entries of at least 100 bytes
		list.Set(reflect.MakeSlice(list.Type(), 0, min(bytes.Count(r.body, []byte("{")), len(r.body)/100)))
	}
	envelope := struct {
		Data  *T     `json:"data"`
		Total number `json:"total"`
	}{Data: &data}
	err = json.Unmarshal(r.body, &envelope)
	_, syntax := errors.AsType[*json.SyntaxError](err)
	mismatch, _ := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case syntax, mismatch != nil && mismatch.Field == "":
		err = r.fault("it is not PVE's JSON (%v): %s", err, excerpt(r.body))
	case err != nil:
		err = r.fault("%v", err)
	case envelope.Data == nil:
		err = r.fault("its data is null")
	case empty(reflect.ValueOf(data)) && !hasData(r.body): // left as it was, since nothing was there
		err = r.fault("it has no data: %s", excerpt(r.body))
	}
	return data, int(envelope.Total), err
}

func empty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

func hasData(body []byte) bool {
	var envelope map[string]json.RawMessage
	return json.Unmarshal(body, &envelope) == nil && envelope["data"] != nil
}
