package planning

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
)

// Whatever becomes of the guests between two plans, one that takes over whose markers they bear says what one says that reads all of
// them, and what it takes over stays as it was.
func TestBearersAreThoseOfTheNode(t *testing.T) {
	for seed := range uint64(100) {
		chance := rand.New(rand.NewPCG(seed, 3))
		objects := []string{"dns", "web", "wiki"}
		some := func(vmid proxmox.VMID) *node.GuestState {
			state := &node.GuestState{}
			text := "a note"
			switch chance.IntN(6) {
			case 0: // not looked at
				return state
			case 1:
			case 2:
				text = marker.Marker{Object: "dns", VMID: vmid, Owner: "another"}.String()
			case 3:
				text = marker.Marker{Object: "dns", VMID: vmid + 1, Owner: "pve1"}.String()
			default:
				text = marker.Marker{Object: objects[chance.IntN(3)], VMID: vmid, Owner: "pve1"}.String()
			}
			state.Config = &proxmox.GuestConfig{Raw: map[string]string{"description": text}}
			return state
		}
		guests := map[proxmox.VMID]*node.GuestState{}
		for range chance.IntN(60) {
			vmid := proxmox.VMID(100 + chance.IntN(80))
			guests[vmid] = some(vmid)
		}
		type told struct {
			have    *node.Observed
			bearers bearers
		}
		all := []told{{bearers: bearers{}}}
		for range 60 {
			next := map[proxmox.VMID]*node.GuestState{}
			for vmid, state := range guests {
				next[vmid] = state
			}
			for range chance.IntN(4) {
				vmid := proxmox.VMID(100 + chance.IntN(80))
				if next[vmid] = some(vmid); chance.IntN(3) == 0 {
					delete(next, vmid)
				}
			}
			guests = next
			b := newBuilder(questions.Questions{Have: &node.Observed{Owner: "pve1", Guests: guests}})
			b.bearers = all[chance.IntN(len(all))].bearers
			b.markedAs("dns")
			all = append(all, told{b.questions.Have, b.bearers})
		}
		for _, one := range all[1:] {
			for _, object := range append(objects, "nobody") {
				var want []proxmox.VMID
				for vmid := range one.have.Guests {
					if markedFor(one.have, vmid) == object {
						want = append(want, vmid)
					}
				}
				slices.Sort(want)
				if got := one.bearers.find(object); !slices.Equal(got, want) {
					t.Fatalf("seed %d: %s is borne by %v, want %v", seed, object, got, want)
				}
			}
		}
	}
}
