package state

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/spec"
)

// Whoever says --hold while the service writes is not lost, and neither is the service.
func TestStoresShareADirectory(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			store := OpenStore(dir) // as another process would
			for j := range 20 {
				if err := store.AddHold(Hold{Name: fmt.Sprintf("restores/ct%d-%d", i, j), Kind: HoldPerson}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if stored, err := OpenStore(dir).Load(); err != nil || len(stored.Holds) != 160 {
		t.Errorf("%d of 160 holds, %v", len(stored.Holds), err)
	}
}

// A clock that was set back ends no hold.
func TestAHoldAndAClockThatWasSetBack(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	store := OpenStore(t.TempDir())
	if err := store.AddHold(Hold{Name: "restores/web", Kind: HoldPerson, Since: now, Until: now.Add(4 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	stored, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	web := &spec.Object{Ref: spec.Ref{Kind: spec.KindRestore, Name: "web"}}
	for at, want := range map[time.Duration]bool{-24 * time.Hour: true, 0: true, 4*time.Hour - time.Second: true, 4 * time.Hour: false} {
		if _, held := stored.Hold(web, HoldPerson, now.Add(at)); held != want {
			t.Errorf("%s after it began it is held: %v", at, held)
		}
	}
	if n, err := store.Release("restores/web"); n != 1 || err != nil {
		t.Errorf("%d released, %v", n, err)
	}
}

// A process that keeps the lock of the state, as one that was stopped amid a change, is waited for, and not for ever.
func TestALockThatIsKept(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		other, store := OpenStore(dir), OpenStore(dir)
		release, err := other.alone()
		if err != nil {
			t.Fatal(err)
		}
		hold := Hold{Name: "all", Kind: HoldPerson}
		if err := store.AddHold(hold); err == nil || !strings.Contains(err.Error(), "fix: ") {
			t.Errorf("while it is kept: %v", err)
		}
		time.AfterFunc(time.Second, release)
		if err := store.AddHold(hold); err != nil {
			t.Errorf("when it is let go: %v", err)
		}
	})
}
