package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// An object that has another name now, or stands under another section, has not left: nobody
// is told how its guest would be destroyed, and what was held stays held.
func TestWhatWasRenamedHasNotLeft(t *testing.T) {
	first := desired(t, "guests: {dns: {vmid: 101, state: running}}\nsnapshots: {old: {guest: dns, every: 1h, keep: 2}}\n")
	for name, text := range map[string]string{
		"renamed":         "guests: {ns: {vmid: 101, was: dns, state: running, is: dns}}\nsnapshots: {young: {was: old, guest: ns, every: 1h, keep: 2}}\n",
		"renamed quietly": "guests: {ns: {vmid: 101, state: running, is: dns}}\nsnapshots: {old: {guest: ns, every: 1h, keep: 2}}\n",
		"a restore":       "restores: {dns: {vmid: 101, from: {newest: local}, storage: local-lvm, state: running}}\nsnapshots: {old: {guest: dns, every: 1h, keep: 2}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			then := desired(t, text)
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(first); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				must(t, b.agent.O.Store.AddHold(Hold{Name: "guests/dns", Kind: HoldPerson, By: "anna", Since: b.sim.Now()}))
				before := len(b.journal.Order)
				b.events.Reset()
				report := b.once(then)
				if strings.Contains(b.events.String(), "pct destroy") || name == "renamed" && strings.Contains(b.events.String(), "no longer") {
					t.Errorf("it says\n%s", b.events)
				}
				if text := b.closing(report); name == "renamed" && (len(b.journal.Order) != before || !strings.Contains(text, "held by anna")) {
					t.Errorf("the hold was forgotten:\n%s\n%s", b.events, text)
				}
			})
		})
	}
}
