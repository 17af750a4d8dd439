package httpstatus

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
)

// Somebody reads the status while the service finds out which node it is on. Under the race detector this shows what the two share.
func TestStatusWhileTheNodeIsFound(t *testing.T) {
	sim := pvesim.New()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	n := &session.Session{Config: &config.Config{Interval: time.Minute}, Client: client, Journal: reconcile.MemoryJournal(), Store: reconcile.MemoryStore(), Log: zap.NewNop()}
	o := NewObserver(n, &source.Source{Path: t.TempDir()})
	read := make(chan Report)
	go func() { read <- o.Report(t.Context()) }()
	if err := n.Find(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-read; r.Node != "" {
		t.Errorf("before the first pass it names %q", r.Node)
	}
	o.Pass(nil, nil, time.Minute, &proxmox.APIError{Status: 595})
	if r := o.Report(t.Context()); r.Node != sim.Node() {
		t.Errorf("after a pass it names %q", r.Node)
	}
}
