package exit

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/felhom/felhom-agent/quote"
)

// The exit codes. Those of a plan and of a run besides these come from package reconcile.
const (
	OK      = 0
	Failed  = 1 // it could not be done
	Blocked = 3 // it was done as far as it could be
	Invalid = 4 // the YAML, the configuration or the command line is wrong; nothing was touched
	GaveUp  = 5 // what was waited for still runs
	Signal  = 128
)

// Guard turns a panic, for which Go would exit with 2 ("there are changes"), into an error.
func Guard(f func() int) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "felhom-agent: a mistake in the program, please report it: %s\n%s", quote.Line(fmt.Sprint(p)), quote.Text(string(debug.Stack())))
			code = Failed
		}
	}()
	return f()
}

// Go starts a goroutine whose panic ends the program as guard does.
func Go(f func()) {
	go func() {
		if code := Guard(func() int { f(); return OK }); code != OK {
			os.Exit(code)
		}
	}()
}
