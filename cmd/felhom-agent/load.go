package main

import (
	"github.com/felhom/felhom-agent/cmd/felhom-agent/rehearse"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/spec"
)

// rootFolders are what root allows on this machine; a variable for the tests.
var rootFolders = privileged.LocalFolders

// load reads the desired state with what is known of the host: host paths that the fence would refuse are
// mistakes. Where root keeps to itself which those are, the fence says it later; a simulated node has a fence of
// its own.
func (cmd *command) load() (*spec.Desired, error) {
	l := cmd.loader()
	want, err := l.Load(cmd.path)
	if err == nil {
		origin, _ := source.OriginOf(cmd.path)
		want.Commit = origin.Commit
		if cmd.rehearsed != nil {
			rehearse.Unprobed(want)
		}
	}
	return want, err
}

// loader knows which host paths root allows.
func (cmd *command) loader() (l spec.Loader) {
	if !cmd.simulate {
		folders, err := rootFolders()
		if err != nil {
			folders = privileged.Folders{Roots: []string{"/", "/mnt/pve"}, IDMap: []string{"/"}}
		}
		l.Roots, l.IDMap = folders.Roots, folders.IDMap
	}
	return l
}
