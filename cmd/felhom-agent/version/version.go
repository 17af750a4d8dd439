// Package version knows which version of the program this is.
package version

// Version is set by `go build -ldflags "-X github.com/felhom/felhom-agent/cmd/felhom-agent/version.Version=1.2.3"`.
var Version = "development"
