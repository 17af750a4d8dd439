package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/spec"
)

// completions are what is sourced by a shell. Each asks the program itself (--complete), so that names of
// objects are those of the files as they are now.
var completions = map[string]string{
	"bash": `# bash completion for felhom-agent: source it, or put it into /usr/share/bash-completion/completions/felhom-agent
_felhom_agent() {
	local IFS=$'\n' word="${COMP_LINE:0:COMP_POINT}"
	local -a words
	IFS=' ' read -r -a words <<<"$word"
	[[ $word == *' ' ]] && words+=('')
	COMPREPLY=($(felhom-agent --complete -- "${words[@]:1}" 2>/dev/null))
	local last="${words[-1]}"
	if [[ $last == *=* && $COMP_WORDBREAKS == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${last%%=*}="}"); fi
	if [[ ${#COMPREPLY[@]} == 0 ]]; then compopt -o default; fi
}
complete -F _felhom_agent felhom-agent
`,
	"zsh": `#compdef felhom-agent
# zsh completion for felhom-agent: put it into a directory of $fpath as _felhom-agent
_felhom_agent() {
	local -a answers
	answers=("${(@f)$(felhom-agent --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	answers=(${answers:#})
	if (( $#answers )); then compadd -U -Q -- $answers; else _files; fi # -U: dn stands for guests/dns
}
if [ "$funcstack[1]" = "_felhom_agent" ]; then _felhom_agent "$@"; else compdef _felhom_agent felhom-agent; fi
`,
	"fish": `# fish completion for felhom-agent: put it into ~/.config/fish/completions/felhom-agent.fish
function __felhom_agent_complete
	set -l answers (felhom-agent --complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)
	if test (count $answers) -gt 0
		string join \n -- $answers
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c felhom-agent -f -a '(__felhom_agent_complete)'
`,
}

// runCompletion prints the completion of a shell.
func runCompletion(_ context.Context, cmd *command, con *console.Console) (int, error) {
	text, ok := completions[cmd.name]
	if !ok {
		return 0, usagef("--completion %s: it is one of bash, fish, zsh", cmd.name)
	}
	fmt.Fprint(con.Stdout, text)
	return exit.OK, nil
}

// named values of options, and the modes and options whose value is an object.
var optionValues = map[string][]string{
	"o": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": config.LogFormats,
	"completion": {"bash", "fish", "zsh"}, "for": {"30m", "1h", "4h", "1d", "7d"},
}

// complete lists what the last of the words could become. It never fails: what cannot be found out is not
// offered.
func complete(words []string) []string {
	last, before := "", []string{}
	if len(words) > 0 {
		last, before = words[len(words)-1], words[:len(words)-1]
	}
	var m *mode
	path := defaultPath
	for i, word := range before {
		name := strings.TrimLeft(word, "-")
		name, _, _ = strings.Cut(name, "=")
		switch {
		case name != word:
			for k := range modes {
				if modes[k].name == name && name != "" {
					m = &modes[k]
				}
			}
		case i == 0 || !wantsValue(before[i-1]):
			path = word
		}
	}
	if len(before) > 0 && wantsValue(before[len(before)-1]) {
		return fitting(last, "", valuesOf(strings.TrimLeft(before[len(before)-1], "-"), path))
	}
	if option, value, ok := strings.Cut(last, "="); ok && strings.HasPrefix(last, "-") {
		return fitting(value, option+"=", valuesOf(strings.TrimLeft(option, "-"), path))
	}
	if !strings.HasPrefix(last, "-") {
		return nil // a path
	}
	var offers []string
	if m == nil {
		for _, mode := range modes[1:] {
			offers = append(offers, "--"+mode.name)
		}
		offers = append(offers, "--help", "--selftest=task")
	} else {
		for _, option := range m.options {
			offers = append(offers, dashed(option))
		}
	}
	slices.Sort(offers)
	return fitting(last, "", offers)
}

// wantsValue reports whether the next word is the value of this one.
func wantsValue(word string) bool {
	name := strings.TrimLeft(word, "-")
	if name == word || strings.Contains(word, "=") {
		return false
	}
	if i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name }); i >= 0 {
		return modes[i].value
	}
	return name != "v" && name != "simulate" && name != "help" && name != ""
}

func valuesOf(option, path string) []string {
	if values, ok := optionValues[option]; ok {
		return values
	}
	want, err := (&command{path: path}).load()
	if err != nil {
		return nil
	}
	var names []string
	for _, ref := range want.Refs() {
		switch option {
		case "only", "hold", "release":
			names = append(names, ref.String())
		case "eject":
			if ref.Kind == spec.KindMount {
				names = append(names, ref.Name)
			}
		case "print-rollback":
			if ref.Kind == spec.KindSnapshot {
				names = append(names, want.Snapshots[ref.Name].Guest+"/"+ref.Name)
			}
		}
	}
	if option == "hold" || option == "release" {
		names = append(names, "all")
	}
	return names
}

func fitting(word, prefix string, offers []string) []string {
	var fits []string
	for _, offer := range offers {
		_, short, _ := strings.Cut(offer, "/")
		if strings.HasPrefix(offer, word) || short != "" && word != "" && strings.HasPrefix(short, word) {
			fits = append(fits, prefix+offer)
		}
	}
	return fits
}
