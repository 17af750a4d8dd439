package source

import (
	"fmt"
	"strings"
	"sync"

	"github.com/felhom/felhom-agent/spec"
)

// Untold says that the command cannot be called.
func Untold(err error) string { return fmt.Sprintf("no notifications are sent: %v", err) }

// A Source is the desired state in force: what PATH says, or said when it was last valid.
type Source struct {
	Path string
	Read func() (*spec.Desired, error)
	Told func(text string)

	mu     sync.Mutex
	good   *spec.Desired
	seen   string // the fingerprint of what was looked at last
	Broken string // what is wrong with it now
	passed string // what was not read
}

// PassedOver names what lies in the folder of the desired state and was not read; "" where there is nothing.
func PassedOver(want *spec.Desired) string {
	if len(want.PassedOver) == 0 {
		return ""
	}
	return fmt.Sprintf("not read: %s (expected files whose names end in .yaml or .yml)", strings.Join(want.PassedOver, ", "))
}
