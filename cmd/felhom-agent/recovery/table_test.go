package recovery

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
)

// An idle host has nothing left to set up, and its agent says of everything that it is done. Which guests it has is given.
type idle struct {
	Host
	guests string // as /cluster/resources lists them
}

func (h idle) NodeName() (string, error)                     { return "pve1", nil }
func (h idle) Origins() map[string]string                    { return nil }
func (h idle) ReadFile(string) ([]byte, error)               { return nil, fs.ErrNotExist }
func (h idle) List(string) ([]string, error)                 { return nil, fs.ErrNotExist }
func (h idle) Root() privileged.Runner                       { return h }
func (h idle) Agent(context.Context, ...string) (int, error) { return 0, nil }
func (h idle) Ask(context.Context, privileged.Query) (privileged.Answer, error) {
	return privileged.Answer{Data: []byte("[]")}, nil
}

func (h idle) Do(context.Context, privileged.Op, func(string)) (privileged.Result, error) {
	panic("a host that is set up is changed")
}

func (h idle) Run(_ context.Context, program string, args ...string) ([]byte, int, error) {
	switch {
	case program != pvesh:
		return nil, 0, nil
	case args[1] == "/cluster/resources":
		return []byte(h.guests), 0, nil
	case strings.HasSuffix(args[1], "/config"):
		return []byte(`{"description": "<!-- felhom-agent/1 web vmid=112 owner=pve1 born=2026-11-22T17:02:09Z -->"}`), 0, nil
	}
	return []byte("[]"), 0, nil
}

// A recovery after which a guest of the kit is missing is not one that has done everything, whatever the last pass says of the rest.
func TestAGuestThatIsNotBackIsInTheExitCode(t *testing.T) {
	k := &kit.Kit{Facts: kit.Facts{Node: "pve1", Owner: "pve1", Guests: []kit.Guest{{Name: "web", VMID: 112, Backup: time.Unix(1e9, 0)}}}}
	for name, tt := range map[string]struct {
		guests string
		exit   int
		row    string
	}{
		"back":          {`[{"vmid": 112, "name": "web", "node": "pve1", "type": "lxc"}]`, ok, "back"},
		"not back":      {`[]`, blocked, "NOT BACK"},
		"another guest": {`[{"vmid": 112, "name": "shop", "node": "pve2", "type": "lxc"}]`, blocked, "NOT BACK"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			c := &Course{Host: idle{guests: tt.guests}, Out: io.Writer(&out)}
			exit, err := c.bringBack(t.Context(), k, nil)
			if err != nil || exit != tt.exit || !strings.Contains(out.String(), "112   "+tt.row) {
				t.Errorf("exit code %d, %v\n%s", exit, err, &out)
			}
		})
	}
}
