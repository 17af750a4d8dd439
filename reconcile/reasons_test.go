package reconcile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rogpeppe/go-internal/txtar"
)

// reasonsOf renders every reason that the source of the package can give why nothing is
// done, with its fixes: the calls of block and await, and what is a Blocker or Blocked. What
// is only known at run time is printed as <…>.
func reasonsOf(t *testing.T, fset *token.FileSet, file *ast.File) (reasons []reason) {
	add := func(at token.Pos, what ast.Expr, fixes []ast.Expr) {
		r := reason{at: fset.Position(at), text: rendered(what)}
		for _, fix := range fixes {
			r.fixes = append(r.fixes, rendered(fix))
		}
		reasons = append(reasons, r)
	}
	// A Blocker may get its fix in the next lines: o.Fix = …
	later := map[int][]ast.Expr{}
	ast.Inspect(file, func(n ast.Node) bool {
		if set, ok := n.(*ast.AssignStmt); ok {
			if field, ok := set.Lhs[0].(*ast.SelectorExpr); ok && field.Sel.Name == "Fix" {
				for line := fset.Position(n.Pos()).Line; line > fset.Position(n.Pos()).Line-6; line-- {
					later[line] = append(later[line], set.Rhs[0])
				}
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			method, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if _, ok := method.X.(*ast.Ident); !ok { // a hold of people, not of the planner
				return true
			}
			switch {
			case method.Sel.Name == "block" && len(n.Args) >= 3:
				add(n.Pos(), n.Args[2], n.Args[3:])
			case method.Sel.Name == "blockAs" && len(n.Args) >= 4:
				add(n.Pos(), n.Args[3], n.Args[4:])
			case method.Sel.Name == "await" && len(n.Args) >= 2:
				add(n.Pos(), n.Args[1], n.Args[2:])
			case method.Sel.Name == "awaitIf" && len(n.Args) >= 3:
				add(n.Pos(), n.Args[2], n.Args[3:])
			}
		case *ast.CompositeLit:
			name, ok := n.Type.(*ast.SelectorExpr)
			if !ok || name.Sel.Name != "Blocker" && name.Sel.Name != "Blocked" {
				return true
			}
			fields := map[string]ast.Expr{}
			for _, element := range n.Elts {
				if pair, ok := element.(*ast.KeyValueExpr); ok {
					fields[strings.ToLower(pair.Key.(*ast.Ident).Name)] = pair.Value
				}
			}
			if fields["reason"] == nil {
				return true
			}
			if _, waits := fields["mount"]; waits { // becomes a deferred step: the mount itself says what to do
				return true
			}
			var fixes []ast.Expr
			switch fix := fields["fix"].(type) {
			case nil:
				fixes = later[fset.Position(n.Pos()).Line]
			case *ast.CompositeLit:
				fixes = fix.Elts
			default:
				fixes = []ast.Expr{fix}
			}
			add(n.Pos(), fields["reason"], fixes)
		}
		return true
	})
	return reasons
}

type reason struct {
	at    token.Position
	text  string
	fixes []string
}

var verbs = regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)

// rendered is what an expression prints, as far as its source tells.
func rendered(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		return rendered(e.X) + rendered(e.Y)
	case *ast.Ident:
		if e.Name == "nil" {
			return ""
		}
	case *ast.CallExpr:
		name := ""
		switch f := e.Fun.(type) {
		case *ast.SelectorExpr:
			name = f.Sel.Name
		case *ast.Ident:
			name = f.Name
		}
		if name == "Sprintf" {
			return verbs.ReplaceAllString(rendered(e.Args[0]), "<…>")
		}
	case *ast.CompositeLit:
		if len(e.Elts) == 0 {
			return ""
		}
	}
	return "<…>"
}

// Whatever is blocked says what a person can do about it.
func TestEveryReasonHasAFix(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	questions, _ := filepath.Glob("*/*/*.go")
	files = append(files, questions...)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reasonsOf(t, fset, file) {
			if forwards(r) {
				continue
			}
			count++
			t.Logf("%s\n    %s\n    %s", r.at, r.text, strings.Join(r.fixes, "; "))
			if r.text == "" {
				t.Errorf("%s: a reason that says nothing", r.at)
			}
			if len(r.fixes) == 0 || strings.TrimSpace(strings.Join(r.fixes, "")) == "" {
				t.Errorf("%s: %q has no fix", r.at, r.text)
			}
		}
	}
	if count < 60 {
		t.Errorf("only %d reasons were found: does this test still read the planner?", count)
	}
	t.Logf("%d reasons", count)
}

// forwards reports whether a call only hands on what another place says: block and await
// themselves.
func forwards(r reason) bool { return r.text == "<…>" && strings.Join(r.fixes, "") == "<…>" }

// A fault in the test above would make it pass: it fails on a reason without a fix.
func TestAReasonWithoutACureIsFound(t *testing.T) {
	const source = `package reconcile
func (p *planner) f(o *spec.Object) {
	p.block(o, "vmid", "one is wrong")
	p.await(o, fmt.Sprintf("%d is wrong", 2), "")
	_ = &plan.Blocker{Reason: "three is wrong"}
	_ = plan.Blocked{Reason: "four is wrong", Fix: nil}
	p.block(o, "vmid", "five is wrong", "put it right")
}`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "f.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	bare := 0
	for _, r := range reasonsOf(t, fset, file) {
		if strings.TrimSpace(strings.Join(r.fixes, "")) == "" {
			bare++
		}
	}
	if bare != 4 {
		t.Errorf("%d of 4 bare reasons were found", bare)
	}
}

// The same of what is printed in the stories: every line that begins with ! is followed
// by its fix, and every blocked line of a run has one and a place.
func TestEveryBlockedLineOfTheStoriesHasACure(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "story", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	blocked := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir, steps := t.TempDir(), ""
		for _, f := range archive.Files {
			switch f.Name {
			case "steps":
				steps = string(f.Data)
			case "prints":
			default:
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		printed := ""
		synctest.Test(t, func(t *testing.T) { printed = tell(t, dir, steps) })
		lines := strings.Split(printed, "\n")
		for i, line := range lines {
			as := regexp.MustCompile(`^  (!|blocked) +\S+ +as (\S+) \(\S+:\d+\)$`).FindStringSubmatch(line)
			switch {
			case as != nil: // an object before it has said it
				blocked++
				if !slices.ContainsFunc(lines[:i], regexp.MustCompile(`^  `+as[1]+` +`+as[2]+`  `).MatchString) {
					t.Errorf("%s: %s has said nothing before: %s", file, as[2], line)
				}
			case strings.HasPrefix(line, "  ! "):
				blocked++
				below := strings.TrimSpace(lines[i+1])
				if !strings.HasPrefix(lines[i+1], "      ") || below == "" || strings.HasPrefix(below, "(") {
					t.Errorf("%s: no fix:\n%s\n%s", file, line, lines[i+1])
				}
			case strings.HasPrefix(line, "  blocked "):
				blocked++
				if !strings.Contains(line, ": ") || !regexp.MustCompile(`\(\S+:\d+\)$`).MatchString(line) {
					t.Errorf("%s: no fix or no place: %s", file, line)
				}
			}
		}
	}
	if blocked < 20 {
		t.Errorf("only %d blocked lines in all stories", blocked)
	}
	t.Logf("%d blocked lines", blocked)
}
