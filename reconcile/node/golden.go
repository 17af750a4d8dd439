package node

import (
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// GoldenDigest stands for what the YAML declares of a golden. It is not PVE's digest
// of the config file, which every note changes.
func GoldenDigest(golden *spec.Golden) string { return text.ShortHash(golden.Canonical()) }

// GoldenGuest is a golden as a guest, which it is for the rules on blanks, archives and
// volumes.
func GoldenGuest(golden *spec.Golden) *spec.Guest {
	return &spec.Guest{Object: golden.Object, VMID: golden.VMID, Storage: golden.RootFS.Storage, RootFS: spec.RootFS{Size: golden.RootFS.Size}, Config: golden.Config}
}
