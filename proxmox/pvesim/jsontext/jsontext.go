// Package jsontext writes JSON by hand, key by key, in the order in which PVE's answers have it.
package jsontext

import (
	"strconv"
	"unicode/utf8"
)

// A Doc is a JSON text under construction. The simulator writes its answers by
// hand: a law runs tens of thousands of scenarios and reflection would be most
// of their time.
type Doc struct{ B []byte }

// Comma writes a comma where one belongs.
func (d *Doc) Comma() {
	if n := len(d.B); n > 0 {
		switch d.B[n-1] {
		case '{', '[', ':':
		default:
			d.B = append(d.B, ',')
		}
	}
}

// Open begins an object.
func (d *Doc) Open() *Doc { d.Comma(); d.B = append(d.B, '{'); return d }

// Close ends an object.
func (d *Doc) Close() *Doc { d.B = append(d.B, '}'); return d }

// List begins a list.
func (d *Doc) List() *Doc { d.Comma(); d.B = append(d.B, '['); return d }

// End ends a list.
func (d *Doc) End() *Doc { d.B = append(d.B, ']'); return d }

// Key writes a key; its value follows.
func (d *Doc) Key(k string) *Doc {
	d.Comma()
	d.B = appendJSON(d.B, k)
	d.B = append(d.B, ':')
	return d
}

// Str writes a key with a string.
func (d *Doc) Str(k, v string) *Doc {
	d.Key(k)
	d.B = appendJSON(d.B, v)
	return d
}

// Num writes a key with a number.
func (d *Doc) Num(k string, v int64) *Doc {
	d.Key(k)
	d.B = strconv.AppendInt(d.B, v, 10)
	return d
}

// Flag writes a key with 1 or 0.
func (d *Doc) Flag(k string, v bool) *Doc {
	if v {
		return d.Num(k, 1)
	}
	return d.Num(k, 0)
}

// Float writes a key with a number of 15 digits, as Perl prints one.
func (d *Doc) Float(k string, v float64) *Doc {
	d.Key(k)
	d.B = strconv.AppendFloat(d.B, v, 'g', 15, 64)
	return d
}

// Null writes a key with null.
func (d *Doc) Null(k string) *Doc {
	d.Key(k)
	d.B = append(d.B, "null"...)
	return d
}

// Text adds a bare string, of a list or the whole answer.
func (d *Doc) Text(v string) *Doc {
	d.Comma()
	d.B = appendJSON(d.B, v)
	return d
}

const hexDigits = "0123456789abcdef"

func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[from:i]...)
				b = append(b, "\ufffd"...)
				i++
				from = i
				continue
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
