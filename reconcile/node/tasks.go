package node

import (
	"github.com/felhom/felhom-agent/proxmox"
)

// OtherAgent is a task of our token that runs and that this journal does not know: an
// agent on another machine works with the same token, or this one has lost its
// journal. Nothing is started beside it.
func (o *Observed) OtherAgent() *proxmox.Task {
	for i := range o.Tasks {
		t := &o.Tasks[i]
		if t.Running() && o.TokenID != "" && t.UPID.User == o.TokenID && !o.Memory.Tasks[t.UPID] {
			return t
		}
	}
	return nil
}
