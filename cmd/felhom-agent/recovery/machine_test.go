package recovery

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A program that has ended is not waited for because of one that it left behind with its output.
func TestAProgramLeavesAnotherBehind(t *testing.T) {
	end := filepath.Join(t.TempDir(), "end")
	if err := syscall.Mkfifo(end, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		output, exit, err := NewMachine(os.Stdout, os.Stderr).Run(t.Context(), "/bin/sh", "-c", "cat "+end+" & echo done")
		if string(output) != "done\n" || exit != 0 || err != nil {
			t.Errorf("%q, %d, %v", output, exit, err)
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute): // only a hang gets here
		t.Error("it is waited for without end")
	}
	if left, err := os.OpenFile(end, os.O_WRONLY, 0); err == nil { // what was left behind ends
		left.Close()
	}
	<-ended
}
