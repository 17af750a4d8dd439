package journal_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

// What a journal remembers from call to call is what one says that reads all of it anew, whatever of it a caller has changed.
func TestMemoryIsThatOfTheWholeJournal(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		kept, now := journal.MemoryJournal(), time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
		var all []journal.Entry
		open := map[string]journal.Entry{}
		var told, as []journal.Memory
		for i := range 60 {
			now = now.Add(time.Duration(1+r.IntN(900)) * time.Second)
			e := someEntry(r, open, i, now)
			all = append(all, e)
			if err := kept.Append(e); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) > 0 {
				continue
			}
			fresh := journal.MemoryJournal()
			for _, e := range all {
				if err := fresh.Append(e); err != nil {
					t.Fatal(err)
				}
			}
			have, want := kept.Memory(now), fresh.Memory(now)
			if !reflect.DeepEqual(have, want) {
				t.Fatalf("seed %d, after %d lines:\n%+v\nand read anew:\n%+v", seed, len(all), have, want)
			}
			if told = append(told, have); seed%2 == 0 {
				spoil(have, now)
			} else {
				as = append(as, want)
			}
		}
		if seed%2 > 0 && !reflect.DeepEqual(told, as) {
			t.Fatalf("seed %d: what was told before is another one now", seed)
		}
	}
}

// someEntry is an intent, or the outcome of an operation that is open.
func someEntry(r *rand.Rand, open map[string]journal.Entry, i int, now time.Time) journal.Entry {
	for act, e := range open {
		if r.IntN(2) > 0 {
			break
		}
		delete(open, act)
		outcome := journal.Entry{Action: act, Step: journal.StepOutcome, Time: now, Result: []string{journal.ResultOK, journal.ResultUnsent, "failed"}[r.IntN(3)]}
		if e.Verb == journal.VerbBackUp {
			outcome.Facts = map[string]string{"archive": "usb:backup/" + act, "synced": []string{"yes", "no"}[r.IntN(2)]}
		}
		return outcome
	}
	vmid := proxmox.VMID(100 + r.IntN(2))
	e := journal.Entry{Action: fmt.Sprint("act", i), Step: journal.StepIntent, Time: now, Object: fmt.Sprint("restores/g", vmid), Queue: "lxc/" + vmid.String()}
	switch r.IntN(5) {
	case 0:
		e.Verb, e.Facts = "restore", map[string]string{"makes": vmid.String(), "reads": "usb:backup/old"}
	case 1:
		e.Verb = journal.VerbBackUp
		e.Call = &proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump", Params: proxmox.Params{"storage": "usb", "notes-template": "n"}}
	case 2:
		e.Verb, e.Facts = "restart", map[string]string{"restart": "1"}
	case 3:
		e.Verb, e.Facts = journal.VerbTest, map[string]string{journal.FactTest: fmt.Sprint("nonce", r.IntN(3)), "makes": vmid.String()}
	case 4:
		e.Verb, e.Facts = journal.VerbTestStart, map[string]string{journal.FactTest: fmt.Sprint("nonce", r.IntN(3)), journal.FactVerdict: "good"}
	}
	e.ID = e.Object + "/" + e.Verb
	open[e.Action] = e
	return e
}

// spoil changes all of what a call has returned that a caller may change.
func spoil(m journal.Memory, now time.Time) {
	m.Changed["spoilt"], m.Done["spoilt"], m.Restarting["spoilt"], m.Reading["spoilt"] = true, true, true, true
	m.Made["spoilt"], m.Unmade[1], m.Undeletable["spoilt"] = now, now, now
	m.Making[1], m.Notes["spoilt"] = "spoilt", "spoilt"
	m.Archives["spoilt"], m.Rollbacks["spoilt"] = journal.ArchiveState{}, journal.RollbackState{}
	for id := range m.BackedUp {
		m.BackedUp[id] = append(m.BackedUp[id], now)
	}
	for i := range m.Tests {
		m.Tests[i].Why, m.Tests[i].Start = "spoilt", nil
	}
	for i := range m.Flights {
		m.Flights[i].Verb = "spoilt"
	}
}

// What was told of backups does not change when one that was begun before them ends.
func TestMemoryThatWasToldStays(t *testing.T) {
	j, now := journal.MemoryJournal(), time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	step := func(act, step, result string) {
		now = now.Add(time.Minute)
		if err := j.Append(journal.Entry{Action: act, Step: step, Time: now, ID: "backups/nightly/dns", Verb: journal.VerbBackUp, Result: result}); err != nil {
			t.Fatal(err)
		}
	}
	for _, act := range []string{"a", "b", "c"} {
		step(act, journal.StepIntent, "")
		step(act, journal.StepOutcome, journal.ResultOK)
	}
	step("slow", journal.StepIntent, "")
	step("quick", journal.StepIntent, "")
	step("quick", journal.StepOutcome, journal.ResultOK)
	told := j.Memory(now).BackedUp["backups/nightly/dns"]
	before := fmt.Sprint(told)
	step("slow", journal.StepOutcome, journal.ResultOK)
	if j.Memory(now); len(told) != 4 || fmt.Sprint(told) != before {
		t.Errorf("it was\n%s\nand is\n%v", before, told)
	}
}
