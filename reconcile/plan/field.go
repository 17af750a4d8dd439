package plan

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/text"
)

// FieldText is "memory      2048 -> 4096 MiB".
func FieldText(f Field) string {
	old, new := f.Old, f.New
	for _, unit := range []string{" MiB"} {
		if strings.HasSuffix(old, unit) && strings.HasSuffix(new, unit) {
			old = strings.TrimSuffix(old, unit)
		}
	}
	return fmt.Sprintf("%-11s %s -> %s", f.Name, text.OrElse(old, "(unset)"), text.OrElse(new, "(unset)"))
}
