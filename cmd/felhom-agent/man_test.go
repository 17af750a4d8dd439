package main

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/spf13/cobra/doc"
)

// TestManualPage holds that packaging/felhom-agent.8 is what the table of modes and options and packaging/manual.md
// make. go test ./cmd/felhom-agent -run ManualPage -update writes it.
func TestManualPage(t *testing.T) {
	manual, err := os.ReadFile("packaging/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	root.Long = string(manual)
	var page bytes.Buffer
	if err := doc.GenMan(root, &doc.GenManHeader{Title: "FELHOM-AGENT", Section: "8", Source: "felhom-agent", Manual: "System administration"}, &page); err != nil {
		t.Fatal(err)
	}
	const file = "packaging/felhom-agent.8"
	if flag.Lookup("update").Value.String() == "true" { // defined by the tests of the documents
		if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, page.Bytes()) {
		t.Errorf("%s is not what the program says of itself now: go test ./cmd/felhom-agent -run ManualPage -update", file)
	}
}
