package world

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
)

// Fingerprints. A * at the end means: never started since it came from a template or was
// sealed, so that the first start writes what makes a machine its own.
const EmptyData = "empty*"

// Imprint is the fingerprint of data that came about by a history.
func Imprint(history ...string) string {
	sum := sha1.Sum([]byte(strings.Join(history, "\x00")))
	return hex.EncodeToString(sum[:6])
}
