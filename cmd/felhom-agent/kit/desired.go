package kit

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// DesiredFiles are the files of the desired state, by name without a folder.
func (k *Kit) DesiredFiles() map[string][]byte { return k.below(Desired) }

// DesiredOn are the files of the desired state for a host of another name: `node: OLD`, at the top of a file or in an object, is that of the host.
// Everything else, comments too, stays byte for byte; files that name other nodes of a cluster stay as they are.
func (k *Kit) DesiredOn(node string) map[string][]byte {
	files := k.DesiredFiles()
	if node == k.Node {
		return files
	}
	for name, text := range files {
		files[name] = renamed(text, k.Node, node)
	}
	return files
}

// renamed replaces the value of every key `node` that is old. A file that is no YAML stays as it is.
func renamed(text []byte, old, now string) []byte {
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil {
		return text
	}
	lines := strings.SplitAfter(string(text), "\n")
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, child := range n.Content {
			if value := child; n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "node" && value.Kind == yaml.ScalarNode && value.Value == old {
				lines[value.Line-1] = replacedAt(lines[value.Line-1], value.Column-1, old, now)
			}
			walk(child)
		}
	}
	walk(&doc)
	var b bytes.Buffer
	for _, line := range lines {
		b.WriteString(line)
	}
	return b.Bytes()
}

// replacedAt replaces a word, quoted or not, that begins at a column of a line, counted in characters; a line that has another word there stays.
func replacedAt(line string, column int, old, now string) string {
	runes := []rune(line)
	if column > len(runes) {
		return line
	}
	before, rest := string(runes[:column]), string(runes[column:])
	if quoted := strings.TrimLeft(rest, `"'`); len(quoted) != len(rest) {
		before, rest = before+rest[:1], rest[1:]
	}
	if after, ok := strings.CutPrefix(rest, old); ok {
		return before + now + after
	}
	return line
}
