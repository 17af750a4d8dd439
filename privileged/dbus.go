package privileged

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The little of the D-Bus protocol that a question to a service manager needs (D-Bus Specification, "Message Protocol"): a method call with strings, and an
// answer of strings and numbers. The other side is a container: every length is bounded, and nothing is believed.

// Bounds of an answer.
const (
	busMessage = 8 << 20 // bytes of a message
	busOthers  = 200     // messages that are passed over while one is waited for
)

var errBus = errors.New("its service manager does not speak D-Bus as expected")

// bus is a connection to a service manager.
type bus struct {
	to     io.Writer
	from   *bufio.Reader
	serial uint32
}

// newBus introduces us as the user whom the kernel says that we are: 0, as the container numbers it. BEGIN goes before the answer, as systemd's own clients
// send it: systemd looks at a first message only when more comes behind it, where it reads both at once (measured, 252).
func newBus(conn io.ReadWriter) (*bus, error) {
	b := &bus{to: conn, from: bufio.NewReaderSize(conn, 4096)}
	if _, err := io.WriteString(conn, "\x00AUTH EXTERNAL 30\r\nBEGIN\r\n"); err != nil {
		return nil, err
	}
	line, err := b.from.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return nil, fmt.Errorf("its service manager answers %q to root", clip(printable(string(line)), 80))
	}
	return b, nil
}

// busWriter writes values in D-Bus's form, little endian.
type busWriter []byte

func (w *busWriter) align(n int) {
	for len(*w)%n != 0 {
		*w = append(*w, 0)
	}
}

func (w *busWriter) number(n uint32) {
	w.align(4)
	*w = binary.LittleEndian.AppendUint32(*w, n)
}

func (w *busWriter) text(s string) {
	w.number(uint32(len(s)))
	*w = append(append(*w, s...), 0)
}

// field writes one entry of a header: a string-like value of a type of one letter.
func (w *busWriter) field(code byte, kind byte, value string) {
	w.align(8)
	*w = append(*w, code, 1, kind, 0)
	if kind == 'g' {
		*w = append(append(append(*w, byte(len(value))), value...), 0)
		return
	}
	w.text(value)
}

// texts writes a list of strings.
func (w *busWriter) texts(list []string) {
	var items busWriter
	for _, s := range list {
		items.text(s)
	}
	w.number(uint32(len(items)))
	*w = append(*w, items...)
}

// call calls a method of the service manager and returns what its answer holds, which must be of a signature.
func (b *bus) call(contract, method, signature string, body []byte, expected string) (*busReader, error) {
	b.serial++
	var fields busWriter
	fields.field(1, 'o', "/org/freedesktop/systemd1")
	fields.field(2, 's', contract)
	fields.field(3, 's', method)
	fields.field(6, 's', "org.freedesktop.systemd1")
	fields.field(8, 'g', signature)
	message := busWriter{'l', 1, 0, 1}
	message.number(uint32(len(body)))
	message.number(b.serial)
	message.number(uint32(len(fields)))
	message = append(message, fields...)
	message.align(8)
	if _, err := b.to.Write(append(message, body...)); err != nil {
		return nil, err
	}
	for range busOthers {
		kind, serial, answer, err := b.message()
		switch {
		case err != nil:
			return nil, err
		case serial != b.serial:
		case kind == 2 && answer.signature != expected:
			return nil, errBus
		case kind == 2:
			return answer, nil
		default:
			return nil, fmt.Errorf("its service manager refuses %s: %s", method, cmp.Or(clip(printable(answer.text()), 200), "it does not say why"))
		}
	}
	return nil, errBus
}

// message reads one message: its type, and to which call it is the answer (0: to none).
func (b *bus) message() (kind byte, serial uint32, body *busReader, err error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(b.from, head); err != nil {
		return 0, 0, nil, err
	}
	length, fields := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[12:])
	if head[0] != 'l' || head[3] != 1 || length > busMessage || fields > busMessage {
		return 0, 0, nil, errBus
	}
	rest := make([]byte, int(fields+7)/8*8+int(length))
	if _, err := io.ReadFull(b.from, rest); err != nil {
		return 0, 0, nil, err
	}
	at := int(fields+7) / 8 * 8
	r, signature := &busReader{data: rest[:fields]}, ""
	for !r.bad && r.at < len(r.data) {
		r.align(8)
		code, size, sign := r.byte(), r.byte(), r.byte()
		if r.byte(); size != 1 {
			return 0, 0, nil, errBus
		}
		switch sign {
		case 'u':
			if n := r.number(); code == 5 {
				serial = n
			}
		case 's', 'o':
			r.text()
		case 'g':
			if s := r.signed(); code == 8 {
				signature = s
			}
		default:
			return 0, 0, nil, errBus
		}
	}
	if r.bad {
		return 0, 0, nil, errBus
	}
	return head[1], serial, &busReader{data: rest[at:], signature: signature}, nil
}

// busReader reads values; what is not there makes it bad, and then everything is empty.
type busReader struct {
	data      []byte
	at        int
	bad       bool
	signature string // of a whole body
}

func (r *busReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.data)-r.at {
		r.bad = true
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

func (r *busReader) align(n int) { r.take((n - r.at%n) % n) }

func (r *busReader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *busReader) number() uint32 {
	r.align(4)
	if b := r.take(4); len(b) == 4 {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// signed reads a signature: the type of what follows.
func (r *busReader) signed() string {
	b := r.take(int(r.byte()) + 1)
	if len(b) == 0 {
		return ""
	}
	return string(b[:len(b)-1])
}

func (r *busReader) text() string {
	n := r.number()
	if n > busMessage {
		r.bad = true
	}
	b := r.take(int(n) + 1)
	if len(b) == 0 {
		return ""
	}
	return string(b[:len(b)-1])
}
