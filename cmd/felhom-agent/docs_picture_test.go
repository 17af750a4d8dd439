package main_test

import (
	"fmt"
	"html"
	"image/png"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	columns     = 132 // of the terminal: no line wraps sooner or later because of the age of a backup in it
	charWidth   = 7.8 // of a 13 px monospaced font
	lineHeight  = 17
	linePause   = 0.25 // seconds that a scene stays, per line
	scenePause  = 2.5  // and besides
	drill       = root + "/docs/disaster-recovery.md"
	drillSVG    = root + "/docs/pictures/drill.svg"
	drillHeader = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="A recording of the disaster drill">
<style>
rect { fill: #16181d } text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d6d9de; white-space: pre }
.c { fill: #8b93a1 } .p { fill: #ffffff; font-weight: bold }
.a31, .a91 { fill: #ff8f86 } .a32, .a92 { fill: #6ed092 } .a33, .a93 { fill: #edc15a } .a34, .a94 { fill: #86b3ff } .a35, .a95 { fill: #d29bff } .a36, .a96 { fill: #6fd1d6 } .a90, .a2 { fill: #8b93a1 } .a1 { font-weight: bold }
`
)

// A scene is one command of the drill: what the document says before it, and what the terminal shows.
type scene struct {
	caption, command string
	lines            []string // with colours
}

// TestDrillPicture plays the drill of docs/disaster-recovery.md on a terminal and holds that the recording in
// docs/pictures shows what is seen. -update records it.
func TestDrillPicture(t *testing.T) {
	t.Parallel()
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("there is no script(1) here to have a terminal: apt-get install bsdutils")
	}
	text, err := os.ReadFile(drill)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, simulator(t))
	env := append(s.env, "TERM=xterm", "COLUMNS="+fmt.Sprint(columns))
	for i, v := range env {
		if v == "NO_COLOR=1" {
			env[i] = "X=1"
		}
	}
	var scenes []scene
	lines := strings.Split(string(text), "\n")
	for _, b := range blocks(lines) {
		if b.kind != "console" {
			continue
		}
		caption := paragraph(lines[:b.first-1])
		for _, line := range lines[b.first:b.last] {
			command, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				continue
			}
			command = strings.TrimSpace(strings.Split(command, " #")[0])
			run := exec.Command(script, "-qec", fmt.Sprintf("stty cols %d; %s", columns, command), "/dev/null")
			run.Dir, run.Env = s.dir, env
			out, _ := run.CombinedOutput() // TestDocs checks the exit codes
			scenes = append(scenes, scene{caption, command, printed(strings.ReplaceAll(string(out), "\r", ""))})
			caption = ""
		}
	}
	fresh := recording(scenes)
	have, err := os.ReadFile(drillSVG)
	if err == nil && masked(string(have)) == masked(fresh) {
		return
	}
	if !*update {
		t.Fatalf("%s shows no longer what happens (%v); docs/pictures/make records it", drillSVG, err)
	}
	if err := os.WriteFile(drillSVG, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}

// paragraph is the last paragraph of some lines, in one line.
func paragraph(lines []string) string {
	var text []string
	for i := len(lines) - 1; i >= 0 && (lines[i] != "" || text == nil); i-- {
		if lines[i] != "" {
			text = append([]string{lines[i]}, text...)
		}
	}
	return strings.TrimSuffix(strings.Join(text, " "), ":")
}

// recording renders the scenes one after the other. Where nothing moves, the longest is seen: it is the plan.
func recording(scenes []scene) string {
	rows, longest, total := 0, 0, 0.0
	var rendered [][]string
	var seconds []float64
	for i, s := range scenes {
		lines := s.render()
		if len(lines) > rows {
			rows, longest = len(lines), i
		}
		rendered = append(rendered, lines)
		seconds = append(seconds, scenePause+linePause*float64(len(lines)))
		total += seconds[i]
	}
	width, height := columns*charWidth+32, rows*lineHeight+28
	var b strings.Builder
	fmt.Fprintf(&b, drillHeader, int(width), height)
	begin := 0.0
	for i := range rendered {
		from, to := begin/total*100, (begin+seconds[i])/total*100
		hidden := ""
		if i > 0 {
			hidden = fmt.Sprintf("0%%, %.2f%% { opacity: 0 } ", from-0.01)
		}
		fmt.Fprintf(&b, "@keyframes s%d { %s%.2f%%, %.2f%% { opacity: 1 } %.2f%%, 100%% { opacity: 0 } }\n", i, hidden, from, to-0.01, to)
		shown := 0
		if i == longest {
			shown = 1
		}
		fmt.Fprintf(&b, "#s%d { opacity: %d; animation: s%d %.1fs infinite }\n", i, shown, i, total)
		begin += seconds[i]
	}
	b.WriteString("@media (prefers-reduced-motion: reduce) { g { animation: none !important } }\n</style>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8"/>`+"\n", int(width), height)
	for i, lines := range rendered {
		fmt.Fprintf(&b, `<g id="s%d">`+"\n", i)
		for n, line := range lines {
			fmt.Fprintf(&b, `<text x="16" y="%d">%s</text>`+"\n", 26+n*lineHeight, line)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// render makes the lines of a scene, cut at the width of the terminal.
func (s scene) render() []string {
	var lines []string
	rest := s.caption
	for rest != "" {
		line := rest
		if len(line) > columns-2 {
			line = line[:strings.LastIndexByte(line[:columns-2], ' ')]
		}
		lines = append(lines, `<tspan class="c"># `+html.EscapeString(line)+`</tspan>`)
		rest = strings.TrimSpace(strings.TrimPrefix(rest, line))
	}
	lines = append(lines, `<tspan class="p">$ `+html.EscapeString(s.command)+`</tspan>`)
	for _, line := range s.lines {
		lines = append(lines, coloured(line)...)
	}
	return lines
}

var control = regexp.MustCompile(`\x1b\[([0-9;]*)([A-Za-z])`)

// coloured makes spans of the colours of a terminal's line, which goes on in another where it is too long.
func coloured(line string) []string {
	var lines []string
	var b strings.Builder
	class, used := "", 0
	write := func(text string) {
		for text != "" {
			if used == columns {
				lines, used = append(lines, b.String()), 0
				b.Reset()
			}
			part := text
			if n := utf8.RuneCountInString(part); n > columns-used {
				part = string([]rune(part)[:columns-used])
			}
			used += utf8.RuneCountInString(part)
			text = text[len(part):]
			if class == "" {
				b.WriteString(html.EscapeString(part))
			} else {
				fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, html.EscapeString(part))
			}
		}
	}
	for {
		at := control.FindStringSubmatchIndex(line)
		if at == nil {
			write(line)
			return append(lines, b.String())
		}
		write(line[:at[0]])
		if line[at[4]:at[5]] == "m" {
			class = ""
			for code := range strings.SplitSeq(line[at[2]:at[3]], ";") {
				if code != "" && code != "0" {
					class = strings.TrimSpace(class + " a" + code)
				}
			}
		}
		line = line[at[1]:]
	}
}

// TestPagePicture holds that the picture of the page is one.
func TestPagePicture(t *testing.T) {
	f, err := os.Open(root + "/docs/pictures/page.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.DecodeConfig(f)
	if err != nil || picture.Width < 800 || picture.Height < 400 {
		t.Errorf("%+v, %v", picture, err)
	}
}
