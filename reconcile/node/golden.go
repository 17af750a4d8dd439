package node

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/felhom/felhom-agent/spec"
)

func ShortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// GoldenDigest stands for what the YAML declares of a golden. It is not PVE's digest
// of the config file, which every note changes.
func GoldenDigest(golden *spec.Golden) string { return ShortHash(golden.Canonical()) }

// GoldenGuest is a golden as a guest, which it is for the rules on blanks, archives and
// volumes.
func GoldenGuest(golden *spec.Golden) *spec.Guest {
	return &spec.Guest{Object: golden.Object, VMID: golden.VMID, Storage: golden.RootFS.Storage, RootFS: spec.RootFS{Size: golden.RootFS.Size}, Config: golden.Config}
}
