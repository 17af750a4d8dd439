package privileged

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Within an operation disks are read several at a time: each look gets what its own program printed, not what stands beside it in the output of the operation.
func TestLooksWithinAnActAreNotMixed(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(root+"/say", []byte("#!/bin/sh\nprintf 'UUID=%s\\n' \"$1\"; sleep 0.05; printf 'NAME=%s\\n' \"$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m := during(NewMachine(root), &queueFile{state: queueState{path: filepath.Join(dir, "mounts-usb")}})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprintf("disk%d", i)
			out, exit, err := m.Run(t.Context(), "/say", []string{name}, nil)
			if want := "UUID=" + name + "\nNAME=" + name + "\n"; string(out) != want || exit != 0 || err != nil {
				t.Errorf("%s: %q, %d, %v", name, out, exit, err)
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left beside the act: %v %v", left, err)
	}
}
