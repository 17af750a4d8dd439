package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// Notes as the scripts that make most containers of small nodes write them, and as people
// paste them: they stay, byte for byte, through adoption, backup and restore.
func TestNotesOfOthersStay(t *testing.T) {
	want := desired(t, `
backups:
  daily: {guests: [dns], storage: local, every: 24h, keep: 5}
guests:
  dns: {vmid: 101, from: {newest: local}, config: {memory: 600MiB}, state: running, drift: heal}
`)
	for name, notes := range map[string]string{
		"a script's": "<div align='center'>\n  <a href='https://example.org' target='_blank' rel='noopener noreferrer'>\n    <img src='https://example.org/logo-81x112.png' alt='Logo' style='width:81px;height:112px;'/>\n  </a>\n\n  <h2 style='font-size: 24px; margin: 20px 0;'>Dns LXC</h2>\n  <!-- https://example.org/x -->\n</div>",
		"Windows":    "one\r\ntwo\r\n\r\n50% of: it\r",
		"odd":        "#\n%41%zz : ; = & + \" ' \\ \\n {{vmid}} \t-->\n<!-- an open comment",
		"unicode":    "Ünïcödé 日本語 🐧\n\u00a0\u2028\n",
		"long":       strings.Repeat("0123456789abcdef Zeile\n", 330),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.as("PUT", "/nodes/pve1/lxc/101/config", "description="+notes)
			before, err := b.client.GuestConfig(t.Context(), "pve1", 101)
			if err != nil {
				t.Fatal(err)
			}
			if report := b.once(want); report.ExitCode() != 0 {
				t.Errorf("%s: exit code %d\n%s\n%s", name, report.ExitCode(), b.events, b.closing(report))
			}
			stay := func(when string) {
				t.Helper()
				after, err := b.client.GuestConfig(t.Context(), "pve1", 101)
				if err != nil || !strings.HasPrefix(after.Description(), before.Description()) {
					t.Errorf("%s: %s, %v, they are\n%q\nand were\n%q", name, when, err, after.Description(), before.Description())
				}
				if plan, text := b.plan(want); plan.ExitCode() != 0 {
					t.Errorf("%s: %s, the plan is not empty:\n%s", name, when, text)
				}
			}
			stay("taken over")
			b.as("POST", "/nodes/pve1/lxc/101/status/stop")
			b.as("DELETE", "/nodes/pve1/lxc/101")
			o := b.agent.O
			o.Only = append(o.Only, want.Guests["dns"].Ref)
			b.agent = New(o)
			if report := b.once(want); report.ExitCode() != 0 {
				t.Errorf("%s: exit code %d\n%s\n%s", name, report.ExitCode(), b.events, b.closing(report))
			}
			stay("restored")
		})
	}
}
