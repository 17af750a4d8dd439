package proxmox

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseUPID(t *testing.T) {
	good := []string{
		"UPID:demo-felhom:00000767:00012584:6B03308F:vzdump:999:felhom@pve!agent:",
		"UPID:demo-felhom:000008EF:0000FB07:6B0332CA:vzdump::felhom@pve!agent:",
		"UPID:pve:0000305D:123456789:6B032AB1:imgdel:800@local:root@pam:",
		"UPID:pve:0000305D:0003C207:6B032AB1:move_volume:100>101:root@pam:",
	}
	for _, s := range good {
		u, err := ParseUPID(s)
		if err != nil || u.String() != s || u.IsZero() {
			t.Errorf("%q prints %q, %v", s, u, err)
		}
	}
	u, _ := ParseUPID(good[0])
	want := UPID{"demo-felhom", 0x767, 0x12584, 0x6B03308F, "vzdump", "999", "felhom@pve!agent"}
	if u != want || !u.Start().Equal(time.Unix(1795371151, 0)) {
		t.Errorf("%+v started %v", u, u.Start())
	}
	bad := []string{
		"", "OK", "UPID:", strings.TrimSuffix(good[0], ":"), good[0] + "x", good[0] + ":", " " + good[0], good[0] + "\n",
		"UPID:-a:00000767:00012584:6B03308F:vzdump:999:root@pam:", "UPID:pve:767:00012584:6B03308F:vzdump:999:root@pam:",
		"UPID:pve:00000767:0012584:6B03308F:vzdump:999:root@pam:", "UPID:pve:00000767:012345678:6B03308F:vzdump:999:root@pam:",
		"UPID:pve:00000767:00012584:6B03308F::999:root@pam:", "UPID:pve:00000767:00012584:6B03308F:vzdump:999::",
		"UPID:pve:00000767:00012584:6B03308F:vz dump:999:root@pam:", "UPID:pve:00000767:00012584:6B03308F:../x:999:root@pam:",
	}
	for _, s := range bad {
		if u, err := ParseUPID(s); err == nil {
			t.Errorf("%q passes as %+v", s, u)
		}
	}
	var none UPID
	if text, err := none.MarshalText(); err != nil || len(text) != 0 || none.String() != "" || !none.IsZero() {
		t.Errorf("zero UPID is %q, %v", text, err)
	}
	for _, s := range append(good, "") {
		var back UPID
		if err := back.UnmarshalText([]byte(s)); err != nil || back.String() != s {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
	}
	if err := none.UnmarshalText([]byte("x")); err == nil || !none.IsZero() {
		t.Error("garbage unmarshals")
	}
}

// upidForm is what a task ID looks like.
var upidForm = regexp.MustCompile(`^UPID:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?:[0-9A-Fa-f]{8}:(?:[0-9A-Fa-f]{8}|[1-9A-Fa-f][0-9A-Fa-f]{8}):[0-9A-Fa-f]{8}:[^:\s/]+:[^:\s/]*:[^:\s/]+:$`)

// What has one byte too many, too few or another one passes where it has the form.
func TestTaskIDsHaveTheirForm(t *testing.T) {
	for _, good := range []string{"UPID:a-b:0000076f:00012584:6B03308F:vzdump:999:felhom@pve!agent:", "UPID:p:0000305D:123456789:6B032AB1:x::y:"} {
		for at := range len(good) {
			for _, with := range []string{"", "0", "1", "f", "G", "-", ":", "/", " ", "\n", "\v", "\xff", "é", "::"} {
				for _, s := range []string{good[:at] + with + good[at+1:], good[:at] + with + good[at:], good[:at] + with} {
					if _, err := ParseUPID(s); (err == nil) != upidForm.MatchString(s) {
						t.Errorf("%q: %v", s, err)
					}
				}
			}
		}
	}
}

func FuzzParseUPID(f *testing.F) {
	f.Add("UPID:demo-felhom:00000767:00012584:6B03308F:vzdump:999:felhom@pve!agent:")
	f.Add("UPID:pve:0000305D:123456789:6b032ab1:imgdel:800@local:root@pam:")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUPID(s)
		if (err == nil) != upidForm.MatchString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			return
		}
		if again, err := ParseUPID(u.String()); err != nil || again != u {
			t.Fatalf("%q is %+v, again %+v, %v", s, u, again, err)
		}
		if !strings.EqualFold(u.String(), s) {
			t.Fatalf("%q prints %q", s, u)
		}
	})
}
