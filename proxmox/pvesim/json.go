package pvesim

import (
	"strconv"
	"unicode/utf8"
)

// A doc is a JSON text under construction. The simulator writes its answers by
// hand: a law runs tens of thousands of scenarios and reflection would be most
// of their time.
type doc struct{ b []byte }

func (d *doc) comma() {
	if n := len(d.b); n > 0 {
		switch d.b[n-1] {
		case '{', '[', ':':
		default:
			d.b = append(d.b, ',')
		}
	}
}

func (d *doc) open() *doc  { d.comma(); d.b = append(d.b, '{'); return d }
func (d *doc) close() *doc { d.b = append(d.b, '}'); return d }
func (d *doc) list() *doc  { d.comma(); d.b = append(d.b, '['); return d }
func (d *doc) end() *doc   { d.b = append(d.b, ']'); return d }

func (d *doc) key(k string) *doc {
	d.comma()
	d.b = appendJSON(d.b, k)
	d.b = append(d.b, ':')
	return d
}

func (d *doc) str(k, v string) *doc {
	d.key(k)
	d.b = appendJSON(d.b, v)
	return d
}

func (d *doc) num(k string, v int64) *doc {
	d.key(k)
	d.b = strconv.AppendInt(d.b, v, 10)
	return d
}

func (d *doc) flag(k string, v bool) *doc {
	if v {
		return d.num(k, 1)
	}
	return d.num(k, 0)
}

func (d *doc) float(k string, v float64) *doc {
	d.key(k)
	d.b = strconv.AppendFloat(d.b, v, 'g', 15, 64)
	return d
}

func (d *doc) null(k string) *doc {
	d.key(k)
	d.b = append(d.b, "null"...)
	return d
}

// text adds a bare string, of a list or the whole answer.
func (d *doc) text(v string) *doc {
	d.comma()
	d.b = appendJSON(d.b, v)
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
