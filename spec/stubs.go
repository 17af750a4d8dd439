package spec

import (
	"context"
	"errors"
)

var errTODO = errors.New("spec: not there yet")

// Load reads a file, or all *.yaml and *.yml files of a folder.
func Load(path string) (*Desired, error) { return nil, errTODO }

// Watch calls nudge when the content under path may have changed, until ctx ends.
func Watch(ctx context.Context, path string, nudge func()) error { return errTODO }

// Fingerprint is a hash of the content under path.
func Fingerprint(path string) (string, error) { return "", errTODO }

// Schema is the JSON Schema (draft 2020-12) of the language.
func Schema() ([]byte, error) { return nil, errTODO }

// Fields is the table of the language.
func Fields() []Field { return nil }

// Canonical is the text of the wish, for digests.
func (g *Guest) Canonical() string { return "" }

// Canonical is the text of the wish, for digests.
func (g *Golden) Canonical() string { return "" }
