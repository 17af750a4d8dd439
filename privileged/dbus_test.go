package privileged

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer is a message that answers a call, with a signature and a body.
func answer(kind byte, to uint32, signature string, body []byte) []byte {
	var fields busWriter
	fields.align(8)
	fields = append(fields, 5, 1, 'u', 0)
	fields.number(to)
	fields.field(7, 's', "org.freedesktop.systemd1")
	if signature != "" {
		fields.field(8, 'g', signature)
	}
	message := busWriter{'l', kind, 0, 1}
	message.number(uint32(len(body)))
	message.number(1)
	message.number(uint32(len(fields)))
	message = append(message, fields...)
	message.align(8)
	return append(message, body...)
}

// variant is a value of a signature of its own that holds a string.
func variant(signature, value string) []byte {
	body := append(busWriter{byte(len(signature))}, signature...)
	body = append(body, 0)
	body.text(value)
	return body
}

// unitList is the answer to a question about units: name and active state of each.
func unitList(units ...string) []byte {
	var items busWriter
	for i := 0; i < len(units); i += 2 {
		items.align(8)
		for _, s := range []string{units[i], "what it is", "loaded", units[i+1], "running", "", "/org/freedesktop/systemd1/unit/x"} {
			items.text(s)
		}
		items.number(0)
		items.text("")
		items.text("/")
	}
	var body busWriter
	body.number(uint32(len(items)))
	body.align(8)
	return append(body, items...)
}

// scripted is a service manager that has written its answers before it is asked.
type scripted struct {
	io.Reader
	asked bytes.Buffer
}

func (s *scripted) Write(b []byte) (int, error) { return s.asked.Write(b) }

func said(messages ...[]byte) *scripted {
	return &scripted{Reader: bytes.NewReader(slices.Concat(append([][]byte{[]byte("OK 0123456789abcdef0123456789abcdef\r\n")}, messages...)...))}
}

// What a service manager answers is read: also behind signals that nobody asked for, and answers to others.
func TestAnswersOfAServiceManager(t *testing.T) {
	signal := answer(4, 0, "s", variant("", "JobNew"))
	other := answer(2, 77, "v", variant("s", "stopping"))
	b, err := newBus(said(signal, other, answer(2, 1, "v", variant("s", "degraded")), signal,
		answer(2, 2, unitListType, unitList("nginx.service", "failed", "../../etc", "failed", "cron.service", "active", "web\n.service", "failed")),
		answer(2, 3, unitListType, unitList("nginx.service", "fai\x1bled")), answer(2, 4, unitListType, unitList()),
		answer(3, 5, "s", append(busWriter{4, 0, 0, 0}, "no\x1b!\x00"...))))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := b.systemState(); state != "degraded" || err != nil {
		t.Errorf("%q, %v", state, err)
	}
	if names, err := b.unitsThatAre("failed"); strings.Join(names, " ") != "nginx.service" || err != nil {
		t.Errorf("%q, %v", names, err)
	}
	if state, err := b.stateOf("nginx.service"); state != "failed" || err != nil {
		t.Errorf("%q, %v", state, err)
	}
	if state, err := b.stateOf("nginx.service"); state != "inactive" || err != nil {
		t.Errorf("%q, %v", state, err)
	}
	if _, err := b.stateOf("nginx.service"); err == nil || err.Error() != "its service manager refuses ListUnitsByNames: no!" {
		t.Errorf("%v", err)
	}
}

// What is sent is what the protocol says, byte for byte.
func TestQuestionsToAServiceManager(t *testing.T) {
	s := said(answer(2, 1, "v", variant("s", "running")))
	b, err := newBus(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.systemState(); err != nil {
		t.Fatal(err)
	}
	sent, found := bytes.CutPrefix(s.asked.Bytes(), []byte("\x00AUTH EXTERNAL 30\r\nBEGIN\r\n"))
	if !found {
		t.Fatalf("%q", s.asked.Bytes())
	}
	// Read as an answer is, it is whole: a header that ends on a multiple of 8, and a body of the length that it names.
	kind, serial, body, err := (&bus{from: bufio.NewReader(bytes.NewReader(sent))}).message()
	if err != nil || kind != 1 || serial != 0 || body.text() != manager || body.text() != "SystemState" || body.bad || body.at != len(body.data) {
		t.Errorf("%d, %d, %v: %q", kind, serial, err, sent)
	}
}

// hostileAnswers are answers that no service manager gives.
func hostileAnswers() map[string][]byte {
	good := answer(2, 1, "v", variant("s", "running"))
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	length := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	nested := func(body []byte) []byte { return answer(2, 1, "v", body) }
	return map[string][]byte{
		"nothing":                         nil,
		"big endian":                      change(0, 'B'),
		"another version":                 change(3, 2),
		"a body of 4 GiB":                 change(4, length(1<<32-1)...),
		"a body that does not come":       change(4, length(8<<20)...),
		"a header of 4 GiB":               change(12, length(1<<32-1)...),
		"a header of nothing":             change(12, length(0)...),
		"a header that ends in an entry":  change(12, length(11)...),
		"an entry of two values":          change(17, 2),
		"an entry of variants":            change(18, 'v'),
		"an entry of structures":          change(18, '('),
		"a text of 4 GiB":                 nested(append([]byte{1, 's', 0, 0}, length(1<<32-1)...)),
		"a text that is longer":           nested(append([]byte{1, 's', 0, 0}, length(100)...)),
		"a signature of 255":              nested([]byte{255, 's'}),
		"a number where a text should be": nested([]byte{1, 'u', 0, 0, 7, 0, 0, 0}),
		"a variant in variants":           nested(bytes.Repeat([]byte{1, 'v', 0}, 64)),
		"another type":                    answer(2, 1, "s", variant("s", "running")[4:]),
		"an error without a reason":       answer(3, 1, "", nil),
		"signals without end":             bytes.Repeat(answer(4, 0, "", nil), busOthers+1),
		"only the answers of others":      bytes.Repeat(answer(2, 7, "v", variant("s", "running")), busOthers+1),
	}
}

// A service manager is the container's: what it answers against the protocol is refused, and nothing is made of it.
func TestHostileServiceManagers(t *testing.T) {
	for name, message := range hostileAnswers() {
		b, err := newBus(said(message))
		if err != nil {
			t.Fatal(err)
		}
		if state, err := b.systemState(); err == nil {
			t.Errorf("%s: it is taken for %q", name, state)
		}
	}
	for name, list := range map[string][]byte{
		"longer than its body":   append([]byte{0, 1, 0, 0, 0, 0, 0, 0}, unitList("a.service", "active")[8:]...),
		"4 GiB":                  append([]byte{255, 255, 255, 255, 0, 0, 0, 0}, unitList("a.service", "active")[8:]...),
		"cut off in a structure": unitList("a.service", "active")[:60],
		"cut off after a number": unitList("a.service", "active")[:2],
	} {
		b, err := newBus(said(answer(2, 1, unitListType, list)))
		if err != nil {
			t.Fatal(err)
		}
		if names, err := b.unitsThatAre("active"); err == nil {
			t.Errorf("a list that is %s: it is taken for %q", name, names)
		}
	}
	for _, hello := range []string{"", "REJECTED EXTERNAL\r\n", "ERROR \x1b[2J\r\n", "OK", strings.Repeat("A", 100_000) + "\r\n"} {
		if _, err := newBus(&scripted{Reader: strings.NewReader(hello)}); err == nil || strings.ContainsAny(err.Error(), "\x1b\r\n") || len(err.Error()) > 200 {
			t.Errorf("%.40q: %v", hello, err)
		}
	}
}

// One that accepts the connection and says nothing more is given up at the deadline.
func TestASilentServiceManager(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs)
	if err := ours.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := newBus(ours); err == nil {
		t.Error("it is taken for one that answers")
	}
}

// FuzzDBus: whatever a container's service manager says, the questions end, and what is made of it is short, printable,
// and in what it said.
func FuzzDBus(f *testing.F) {
	for _, message := range hostileAnswers() {
		f.Add(message)
	}
	f.Add(slices.Concat(answer(2, 1, "v", variant("s", "running")), answer(2, 2, unitListType, unitList("a.service", "active")), answer(2, 3, unitListType, unitList("cron.service", "failed"))))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<20 {
			t.Skip("that long nothing new comes")
		}
		from := said(text)
		b, err := newBus(from)
		if err != nil {
			t.Fatal(err)
		}
		state, err := b.systemState()
		harmlessText(t, state, err)
		names, err := b.unitsThatAre("active")
		for _, name := range names {
			if unitName(name) != "" || !bytes.Contains(text, []byte(name)) {
				t.Errorf("a unit %q is in no answer", name)
			}
		}
		if len(names) > 1000 {
			t.Errorf("%d units", len(names))
		}
		harmlessText(t, "", err)
		state, err = b.stateOf("cron.service")
		harmlessText(t, state, err)
		if from.asked.Len() > 4096 {
			t.Errorf("it was sent %d bytes", from.asked.Len())
		}
	})
}

// harmlessText is what people are shown.
func harmlessText(t *testing.T, text string, err error) {
	t.Helper()
	if err != nil {
		text += err.Error()
	}
	if len(text) > 500 || text != printable(text) {
		t.Errorf("%q", text)
	}
}

// A real systemd answers root of its container: it is started there as the manager of a user, at the place where that of
// a system has its socket, with a unit that fails.
func TestProbesOfARealSystemd(t *testing.T) {
	const systemd = "/usr/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil {
		t.Skip("needs systemd: apt-get install systemd")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs unshare")
	}
	c := container(t, `mkdir -p run/systemd/system run/systemd/user/basic.target.wants sys/fs/cgroup etc root tmp
printf '[Service]\nType=oneshot\nExecStart=/bin/false\n' > run/systemd/user/felhom-bad.service
printf '[Service]\nExecStart=/bin/sleep 1000\n' > run/systemd/user/felhom-good.service
ln -s ../felhom-bad.service ../felhom-good.service run/systemd/user/basic.target.wants
cat > start.sh <<'EOF'
mount -t cgroup2 none /sys/fs/cgroup
export XDG_RUNTIME_DIR=/run HOME=/root
`+systemd+` --user --unit=basic.target
echo systemd ended with $?
sleep 1000
EOF
`, `exec unshare -C /bin/sh /start.sh`)
	ask := func(what, name string) map[string]string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		found, err := c.probe(ctx, map[string]string{"what": what, "name": name})
		if err != nil {
			t.Fatalf("%s %s: %v", what, name, err)
		}
		return found
	}
	for tries := 0; ask("system", "")["state"] != "degraded"; tries++ { // until it has started everything
		if tries == 100 && ask("system", "")["no"] == errNoSystemd.Error() {
			t.Skip("systemd does not start in a container like this here")
		}
		if tries == 100 {
			t.Fatalf("it does not answer: %v", ask("system", ""))
		}
		time.Sleep(100 * time.Millisecond)
	}
	if found := ask("system", ""); !strings.Contains(found["failed"], "felhom-bad.service") {
		t.Errorf("%v", found)
	}
	for unit, want := range map[string]string{"felhom-good.service": "active", "felhom-bad.service": "failed", "felhom-none.service": "inactive", "basic.target": "active"} {
		if found := ask("unit", unit); found["state"] != want {
			t.Errorf("%s: %v; want %s", unit, found, want)
		}
	}
	if found := ask("survey", ""); !strings.Contains(" "+found["units"]+" ", " felhom-good.service ") {
		t.Errorf("%v", found)
	}
}
