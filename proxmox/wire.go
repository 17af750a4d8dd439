package proxmox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
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
			return fmt.Errorf("%q is not a whole number", s)
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

// decodeInto reads data that must be there.
func (r *reply) decodeInto(v any) error {
	if string(r.data) == "null" {
		return r.fault("its data is null")
	}
	if err := json.Unmarshal(r.data, v); err != nil {
		return r.fault("%v", err)
	}
	return nil
}
