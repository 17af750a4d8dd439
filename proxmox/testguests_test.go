package proxmox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func testGuests(t *testing.T, rt http.RoundTripper) *TestGuests {
	t.Helper()
	token, err := NewTestToken("felhom-test@pve!tests", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewTestGuests(Options{Transport: rt, Token: testToken(t)}, token, TestPool)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The client of restore tests sends nothing else than a test needs, and no deletion.
func TestTestGuestsSendsWhatATestNeeds(t *testing.T) {
	var sent []string
	node := fake(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+r.Header.Get("Authorization"))
		return response("200 OK", `{"data":"`+startedUPID+`"}`), nil
	})
	ordinary, tests := testClient(t, node), testGuests(t, node)
	destroy := On("pve1").DestroyGuest(9900)
	if _, err := ordinary.Do(t.Context(), destroy); err == nil || !strings.Contains(err.Error(), "by the one way only") || len(sent) > 0 {
		t.Fatalf("%v, sent %q", err, sent)
	}
	restore := On("pve1").RestoreLXC(RestoreSpec{VMID: 9900, Archive: "local:backup/vzdump-lxc-101-2026_11_22-18_05_00.tar", Storage: "local-lvm", Pool: TestPool})
	with := func(call Call, key, value string) Call {
		p := Params{key: value}
		for k, v := range call.Params {
			if k != key {
				p[k] = v
			}
		}
		return Call{call.Method, call.Path, p}
	}
	for _, c := range []struct {
		call Call
		sent bool
	}{
		{restore, true},
		{On("pve1").Start(9900), true},
		{On("pve1").Stop(9900), true},
		{with(restore, "pool", "else"), false},
		{with(restore, "force", "1"), false},
		{with(restore, "start", "1"), false},
		{with(restore, "ignore-unpack-errors", "1"), false},
		{with(restore, "restore", "0"), false},
		{destroy, false},
		{with(destroy, "purge", "1"), false},
		{with(destroy, "force", "1"), false},
		{with(destroy, "destroy-unreferenced-disks", "1"), false},
		{On("pve1").Shutdown(9900, 0), false},
		{On("pve1").DeleteVolume("local:backup/vzdump-lxc-101-2026_11_22-18_05_00.tar"), false},
		{On("pve1").DeleteSnapshot(9900, "a"), false},
		{On("pve1").SetConfig(9900, ConfigChange{Set: map[string]string{"cores": "1"}}), false},
		{Call{"DELETE", "/pools/" + TestPool, nil}, false},
		{Call{"POST", "/access/users", nil}, false},
	} {
		before := len(sent)
		_, err := tests.Do(t.Context(), c.call)
		if (err == nil) != c.sent || (len(sent) > before) != c.sent {
			t.Errorf("%s: sent %v, %v", c.call, len(sent) > before, err)
		}
	}
	for _, path := range []string{"/nodes/pve1/lxc/9900", "/nodes/pve1/qemu/9900"} {
		if _, err := ordinary.Do(t.Context(), Call{"DELETE", path, Params{"purge": "1"}}); err == nil {
			t.Errorf("%s was sent", path)
		}
	}
	if _, err := ordinary.Do(t.Context(), On("pve1").DeleteSnapshot(9900, "a")); err != nil {
		t.Error(err)
	}
}

// The token of the agent is no token of tests, and neither shows its secret.
func TestATokenOfTestsIsAnotherOne(t *testing.T) {
	own, err := NewTestToken("felhom@pve!agent", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	node := fake(func(*http.Request) (*http.Response, error) { return response("200 OK", `{"data":null}`), nil })
	for name, err := range map[string]error{
		"the agent's token": second(NewTestGuests(Options{Transport: node, Token: testToken(t)}, own, TestPool)),
		"no token":          second(NewTestGuests(Options{Transport: node, Token: testToken(t)}, TestToken{}, TestPool)),
		"no pool":           second(NewTestGuests(Options{Transport: node}, own, "")),
		"a path as pool":    second(NewTestGuests(Options{Transport: node}, own, "a/../b")),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, own); strings.Contains(text, testSecret) {
			t.Errorf("%s shows the secret: %s", verb, text)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A copy beside its guest has a bridge, no link, and no MAC address of the original.
func TestIsolatedNet(t *testing.T) {
	net, err := ParseNet("name=eth0,bridge=vmbr7,hwaddr=BC:24:11:00:00:11,ip=192.0.2.9/24,gw=192.0.2.1,ip6=auto,firewall=1,tag=5,trunks=6;7,mtu=9000,rate=3,type=veth")
	if err != nil {
		t.Fatal(err)
	}
	if have, want := net.Isolated("vmbr0").String(), "name=eth0,bridge=vmbr0,gw=192.0.2.1,ip=192.0.2.9/24,ip6=auto,link_down=1,type=veth"; have != want {
		t.Errorf("%s; want %s", have, want)
	}
}

func TestReadPool(t *testing.T) {
	s := &script{to: map[string][]string{
		"GET /pools/felhom-test": data(`{"comment":"c","members":[{"id":"lxc/9901","type":"lxc","vmid":9901},{"id":"qemu/9900","type":"qemu","vmid":"9900"},{"type":"storage","storage":"local"},{"type":"sdn"}]}`),
		"GET /pools/odd":         data(`{"members":[{"type":"lxc"}]}`),
		"GET /pools/none":        {"500 pool 'none' does not exist\n" + `{"data":null}`},
	}}
	c := testClient(t, s)
	p, err := c.Pool(t.Context(), "felhom-test")
	if have := fmt.Sprint(p); err != nil || have != "{felhom-test c [9900 9901] [local]}" {
		t.Errorf("%s, %v", have, err)
	}
	if _, err := c.Pool(t.Context(), "odd"); err == nil {
		t.Error("a guest without VMID is taken")
	}
	if _, err := c.Pool(t.Context(), "none"); !IsNotFound(err) {
		t.Error(err)
	}
	if _, err := c.Pool(t.Context(), "a/b"); err == nil {
		t.Error("a path is taken")
	}
}
