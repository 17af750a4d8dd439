package main_test

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
)

// banned are words of a private dialect, and what readers know instead. A match that except matches as well is fine.
var banned = []struct {
	word, except *regexp.Regexp
	better       string
}{
	{word: words("look|looks|looked|looking|looker"), except: words("looks? like"), better: "refresh (the machine), review (a person)"},
	{word: words("act|acts|acted"), better: "action (of a plan), operation or task (of PVE)"},
	{word: words("held"), better: "blocked; a hold of a person stays a hold"},
	{word: words("laters"), better: "deferred"},
	{word: words("lanes?"), better: "queue"},
	{word: words("budgets?"), better: "concurrency limit"},
	{word: words("cures?|cured"), better: "fix"},
	{word: words("fences?"), except: words("felhom-fence"), better: "root helper"},
	{word: words("goldens?"), except: words("golden images?"), better: "golden image"},
	{word: words("born|births?"), except: regexp.MustCompile(`born=`), better: "created, generation"},
	{word: words("blanks?"), better: "an empty guest"},
	{word: words("takes? over|took over|taken over|taking over"), better: "adopt"},
	{word: words("ours?|strangers?|foreign"), better: "managed, unmanaged"},
	{word: words("markers?"), except: words("ownership markers?"), better: "ownership marker"},
	{word: words("whole|wholly|proven"), better: "verified, complete"},
	{word: words("drills?"), except: words("disaster drills?"), better: "restore test, disaster drill"},
	{word: words("told|tells?"), better: "reports, notifies, says"},
	{word: words("obstacles?"), better: "blocker"},
	{word: words("is away|are away|plugged in|unplug|unplugged"), better: "disconnected, connected"},
	{word: words("to be seen"), better: "visible"},
	{word: words("rights"), better: "privileges, permissions"},
	{word: words("somebody|nobody|anybody|a person|persons?"), better: "you, the operator, or the passive"},
	{word: words("anew|shall|bears?|bore|lies on|lie on|is to be|are to be|meanwhile|all the same|as far as it is due"), better: "again, must, has, is on, must be, -, anyway, if due"},
	{word: regexp.MustCompile(`(%\S|\b[Ii]t|\b[Tt]his) is no\b|makes no sense`), except: words("is no longer|is no more"), better: "invalid X: expected Y"},
	{word: words("I|we|us|We"), better: "the tool or the thing as the subject"},
	{word: regexp.MustCompile(`;[^.]*;`), better: "sentences without chains of semicolons"},
}

func words(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`\b(` + alternatives + `)\b`)
}

// longest is how many words a sentence may have.
const longest = 25

// A passage is a text that people read: a paragraph, an item of a list, a cell of a table.
type passage struct {
	line int
	text string
}

// sources are the texts that follow the list of words. More kinds of texts get a row, with what reads their
// passages.
var sources = []struct {
	files string // a pattern below the repository
	read  func(text string) []passage
}{
	{"README.md", prose},
	{"docs/*.md", prose},
	{"CHANGELOG.md", unreleased},
	{"examples/desired/*.yaml", comments},
	{"cmd/felhom-agent/packaging/*.yaml", comments},
	{"cmd/felhom-agent/packaging/*.conf", comments},
	{"cmd/felhom-agent/packaging/*.[58]", manual},
	{"spec/*.go", literals},
	{"proxmox/*.go", literals},
	{"cmd/felhom-agent/*.go", literals},
	{"cmd/felhom-agent/*/*.go", literals},
	{"cmd/felhom-fence/*.go", literals},
	{"reconcile/*.go", literals},
	{"reconcile/*/*.go", literals},
	{"reconcile/*/*/*.go", literals},
	{"privileged/*.go", literals},
}

// TestWords holds that documents are written in words that a reader of Kubernetes', Terraform's, systemd's, restic's
// and PVE's documentation knows, in sentences that one understands at once.
func TestWords(t *testing.T) {
	for _, s := range sources {
		files, err := filepath.Glob(filepath.Join(root, s.files))
		if err != nil || len(files) == 0 {
			t.Errorf("%s is no file, %v", s.files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range s.read(string(text)) {
				for _, fault := range faults(p.text) {
					t.Errorf("%s:%d: %s", strings.TrimPrefix(file, root+"/"), p.line, fault)
				}
			}
		}
	}
}

var sentenceEnd = regexp.MustCompile(`[.!?:;]["')*]*(\s|$)`)

// faults are the banned words and the long sentences of a passage.
func faults(text string) []string {
	var all []string
	for _, b := range banned {
		rest := text
		if b.except != nil {
			rest = b.except.ReplaceAllString(text, "")
		}
		if m := b.word.FindString(rest); m != "" {
			all = append(all, strconv.Quote(m)+" in "+strconv.Quote(text)+": better "+b.better)
		}
	}
	for _, sentence := range sentenceEnd.Split(text, -1) {
		if n := len(strings.Fields(sentence)); n > longest {
			all = append(all, "a sentence of "+strconv.Itoa(n)+" words: "+strconv.Quote(sentence))
		}
	}
	return all
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	link       = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	tags       = regexp.MustCompile(`<[^>]*>`)
	bullet     = regexp.MustCompile(`^\s*([*-]|\d+\.|#+)\s+`)
)

// prose is what a document in Markdown says, without code.
func prose(text string) []passage {
	lines := strings.Split(text, "\n")
	for _, b := range blocks(lines) {
		for i := max(b.first-1, 0); i <= min(b.last, len(lines)-1); i++ {
			if b.kind != "sh" || i >= b.first && i < b.last || strings.Contains(lines[i], "```") {
				lines[i] = ""
			}
		}
	}
	var all []passage
	var open *passage
	for i, line := range lines {
		line = strings.TrimSpace(tags.ReplaceAllString(link.ReplaceAllString(inlineCode.ReplaceAllString(line, "CODE"), "$1"), ""))
		switch {
		case line == "":
			open = nil
		case strings.HasPrefix(line, "|"):
			for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
				all = append(all, passage{i + 1, strings.TrimSpace(cell)})
			}
			open = nil
		case open == nil || bullet.MatchString(lines[i]):
			all = append(all, passage{i + 1, bullet.ReplaceAllString(line, "")})
			open = &all[len(all)-1]
		default:
			open.text += " " + line
		}
	}
	return all
}

// unreleased is the newest part of the change log.
func unreleased(text string) []passage {
	begin := strings.Index(text, "\n## ")
	if begin < 0 || !strings.Contains(strings.SplitN(text[begin+1:], "\n", 2)[0], "unreleased") {
		return nil
	}
	part, _, _ := strings.Cut(text[begin+1:], "\n## ")
	all := prose(part)
	for i := range all {
		all[i].line += strings.Count(text[:begin+1], "\n")
	}
	return all
}

// setting is a line of YAML that is commented out.
var setting = regexp.MustCompile(`^[a-z_]+[0-9]?: `)

// comments are the paragraphs of the comments of a YAML file or a unit.
func comments(text string) []passage {
	var all []passage
	alone := false // whether the line before was nothing but a comment
	for i, line := range strings.Split(text, "\n") {
		code, comment, found := strings.Cut(line, "#")
		comment = inlineCode.ReplaceAllString(strings.TrimSpace(comment), "CODE")
		switch whole := strings.TrimSpace(code) == ""; {
		case !found || comment == "" || setting.MatchString(comment):
			alone = false
		case whole && alone:
			all[len(all)-1].text += " " + comment
		default:
			all, alone = append(all, passage{i + 1, comment}), whole
		}
	}
	return all
}

var macro = regexp.MustCompile(`^\.(B|I|BR|IR|BI|IB|RB|RI|TP|PP|SH|TH|nf|fi|EX|EE)\b ?`)

// emphasis is bold or italics within a line of a manual page.
var emphasis = regexp.MustCompile(`\\f[BI].*?\\f[PR]`)

// manual are the paragraphs of a manual page; what stands in bold or italics is code.
func manual(text string) []passage {
	var all []passage
	fresh, example := true, false
	for i, line := range strings.Split(text, "\n") {
		m := macro.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, `.\"`) || line == "":
			continue
		case m == nil && example:
			continue
		case m == nil:
		case slices.Contains([]string{"nf", "fi", "EX", "EE"}, m[1]):
			example = m[1] == "nf" || m[1] == "EX"
			continue
		case len(m[1]) == 2 && strings.Contains("TPPPSHTH", m[1]):
			fresh = true
			continue
		case fresh:
			continue // the term that a paragraph explains
		default:
			line = "CODE"
		}
		if fresh {
			all, fresh = append(all, passage{line: i + 1}), false
		}
		line = emphasis.ReplaceAllString(line, "CODE")
		p := &all[len(all)-1]
		p.text = strings.TrimSpace(p.text + " " + strings.ReplaceAll(line, `\-`, "-"))
	}
	return all
}

// code is what a literal quotes of YAML, files and commands.
var code = regexp.MustCompile("`[^`]*`|\\{[^}]*\\}|\\S*/\\S+|\\b[a-z-]+:( [A-Z]|[.,]|$)|felhom-fence\\S*|golden:|mounts, golden|default-src.*")

// literals are the string literals of a Go file that hold a blank, which are mostly messages. Patterns and tags of fields are
// not read.
func literals(text string) []passage {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", text, 0)
	if err != nil {
		return nil
	}
	var all []passage
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.StructType:
			return false
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "MustCompile" {
				return false
			}
		case *ast.BasicLit:
			if said, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && strings.Contains(said, " ") {
				for paragraph := range strings.SplitSeq(said, "\n") {
					all = append(all, passage{files.Position(n.Pos()).Line, code.ReplaceAllString(paragraph, "CODE")})
				}
			}
		}
		return true
	})
	return all
}

// TestWordsAreFound holds that the check finds what it shall.
func TestWordsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"The agent looks at the node.": 1, "Durations look like `41s`.": 0, "It goes through the fence.": 1, "A golden image.": 0, "A golden.": 1,
		"The ownership marker.": 0, "The marker.": 1, "Run `felhom-fence`.": 0, "One; two.": 0, "One; two; three.": 1,
		strings.Repeat("word ", 25) + ".": 0, strings.Repeat("word ", 26) + ".": 1, "| a cell | that lies on a disk |": 1,
	} {
		found := 0
		for _, p := range prose(text) {
			found += len(faults(p.text))
		}
		if found != want {
			t.Errorf("%q has %d faults, want %d", text, found, want)
		}
	}
	messages := `package x
import "a b"
const quoted = "file a/fence.json, see "+"I look"
var re, tag = regexp.MustCompile("I look"), struct{ A int ` + "`json:\"our a\"`" + ` }{}
func f() error { return fmt.Errorf("%q is no duration") }
`
	if have, want := literals(messages), []passage{{3, "file CODE see "}, {3, "I look"}, {5, "%q is no duration"}}; !slices.Equal(have, want) || len(faults("%q is no duration")) != 1 {
		t.Errorf("the literals are %v, want %v", have, want)
	}
	have := prose("# Head\n\none\ntwo\n\n* item\n  more\n* item\n\n```sh\ncode\n```\n\n| a | b |\n")
	want := []passage{{1, "Head"}, {3, "one two"}, {6, "item more"}, {8, "item"}, {14, "a"}, {14, "b"}}
	if !slices.Equal(have, want) {
		t.Errorf("the passages are %v, want %v", have, want)
	}
	have = comments("# one\n# two\n\nkey: 1 # three\n# four\n")
	if want := []passage{{1, "one two"}, {4, "three"}, {5, "four"}}; !slices.Equal(have, want) {
		t.Errorf("the comments are %v, want %v", have, want)
	}
	have = manual(".SH NAME\none\n.TP\n.B term\ntwo\n.I code\nthree\n.PP\n.nf\n    code\n.fi\nfour\n")
	if want := []passage{{2, "one"}, {5, "two CODE three"}, {12, "four"}}; !slices.Equal(have, want) {
		t.Errorf("the manual page has %v, want %v", have, want)
	}
}
