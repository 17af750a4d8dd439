package main_test

import (
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
	{word: words("fences?"), better: "root helper"},
	{word: words("goldens?"), except: words("golden images?"), better: "golden image"},
	{word: words("born|births?"), better: "created, generation"},
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
	{word: words("I|we|us|We"), better: "the tool or the thing as the subject"},
	{word: regexp.MustCompile(`;[^.]*;`), better: "sentences without chains of semicolons"},
}

func words(any string) *regexp.Regexp { return regexp.MustCompile(`\b(` + any + `)\b`) }

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
	have := prose("# Head\n\none\ntwo\n\n* item\n  more\n* item\n\n```sh\ncode\n```\n\n| a | b |\n")
	want := []passage{{1, "Head"}, {3, "one two"}, {6, "item more"}, {8, "item"}, {14, "a"}, {14, "b"}}
	if !slices.Equal(have, want) {
		t.Errorf("the passages are %v, want %v", have, want)
	}
}
