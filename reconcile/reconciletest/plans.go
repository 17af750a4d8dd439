package reconciletest

import (
	"bytes"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/view"
	"github.com/felhom/felhom-agent/spec"
)

// Examples is the desired state of examples/desired.
func Examples(t testing.TB) *spec.Desired {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	want, err := spec.Load(filepath.Join(filepath.Dir(here), "..", "..", "examples", "desired"))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// Reborn is a node as it was saved, with something exchanged in its file.
func Reborn(t testing.TB, sim *pvesim.Sim, old, with string) *pvesim.Sim {
	t.Helper()
	world, err := sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(world, []byte(old)); n != 1 {
		t.Fatalf("%q is there %d times:\n%s", old, n, world)
	}
	if sim, err = pvesim.Load(bytes.Replace(world, []byte(old), []byte(with), 1)); err != nil {
		t.Fatal(err)
	}
	return sim
}

// PlanText is a plan as people read it with -v.
func PlanText(p *plan.Plan) string {
	var b strings.Builder
	view.WritePlan(&b, p, view.TextOptions{Desired: "desired", Verbose: true})
	return b.String()
}

// TwoNodes is a fresh node beside another one that has a guest, and that may be dead.
func TwoNodes(t testing.TB, down bool) *pvesim.Sim {
	dead := ""
	if down {
		dead = "\n    down: true"
	}
	return Reborn(t, pvesim.New(), "guests:\n  - vmid: 101\n", `  - name: pve2`+dead+`
    zone: Europe/Budapest
    boot: 1793638929
    ip: 192.0.2.12
    cpus: 4
    disks:
      - uuid: b7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d22
        fs: ext4
        device: /dev/sda2
        size: 500000000000
    mounts:
      - device: /dev/sda2
        uuid: b7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d22
        target: /
        fs: ext4
        options: rw,relatime
guests:
  - vmid: 150
    node: pve2
    config: |
      arch: amd64
      hostname: far
      memory: 512
      ostype: debian
      unprivileged: 1
  - vmid: 101
`)
}
