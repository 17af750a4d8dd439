package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What fits on a screen, or into a head.
const (
	mostLines     = 300 // of a file
	mostFuncLines = 60
	mostMethods   = 20 // of a type
)

// larger are the files, functions and types that may be larger, with the reason. What is only "not yet" split has to
// become smaller one day: nothing may be added as that.
var larger = map[string]string{
	"proxmox.Client":      "the facade: what another program calls",
	"proxmox.View":        "the facade: what another program reads",
	"proxmox.GuestConfig": "the facade: one method for each part of a config",
	"proxmox/pvesim.Sim":  "the facade: what a test or a program does to a simulated node",

	"cmd/felhom-agent/recovery/steps.go": "one thing: the steps of a recovery",
	"proxmox/pvesim/api.buildRoutes":     "a table: one method of the API a line",

	"proxmox/call.go": "every write of the API, side by side",
	"proxmox/node.go": "one kind of thing: what a node tells of itself and of its users",
	"spec/config.go":  "one kind of thing: the keys of a guest",
	"spec/scalar.go":  "one kind of thing: the values that YAML can have",
}

// TestSizes holds that nothing grows too large to be read in one go.
func TestSizes(t *testing.T) {
	large := map[string]int{}
	methods := map[string]int{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))
		if d.IsDir() {
			if d.Name() == "testdata" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			return measure(name, rel, large, methods)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range methods {
		if n > mostMethods {
			large[name] = n
		}
	}
	for name, n := range large {
		if larger[name] == "" {
			t.Errorf("%s is too large (%d): a file has at most %d lines, a function %d, a type %d methods. Split it by meaning", name, n, mostLines, mostFuncLines, mostMethods)
		}
	}
	for name := range larger {
		if large[name] == 0 {
			t.Errorf("%s is no longer too large: remove it from the list, which only shrinks", name)
		}
	}
	if len(methods) < 50 {
		t.Errorf("only %d types were measured", len(methods))
	}
}

// measure adds what of a file is too large, and counts the methods of each type.
func measure(name, rel string, large, methods map[string]int) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if n := set.File(file.Pos()).LineCount(); n > mostLines+1 { // the last line ends with a line break
		large[rel] = n - 1
	}
	dir := strings.TrimSuffix(rel, "/"+filepath.Base(rel))
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		of := ""
		if f.Recv != nil {
			kind := f.Recv.List[0].Type
			if star, ok := kind.(*ast.StarExpr); ok {
				kind = star.X
			}
			if id, ok := kind.(*ast.Ident); ok {
				of = id.Name + "."
				methods[dir+"."+id.Name]++
			}
		}
		if n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; n > mostFuncLines {
			large[dir+"."+of+f.Name.Name] = n
		}
	}
	return nil
}
