package kit

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"
)

// secretKeys are the keys of agent.yaml that hold a secret, or may: the arguments of a notify command often have a password in them.
var secretKeys = map[string]bool{"token_secret": true, "tests_token_secret": true, "notify": true}

// withoutSecrets is agent.yaml byte for byte, where it has no key that may hold a secret; else without these keys and all comments.
func withoutSecrets(text []byte) (public []byte, left []string, err error) {
	root, err := mapping(text)
	if err != nil || root == nil {
		return nil, nil, err // comments alone say nothing that is needed
	}
	kept := root.Content[:0:0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if secretKeys[root.Content[i].Value] {
			left = append(left, root.Content[i].Value)
		} else {
			kept = append(kept, root.Content[i], root.Content[i+1])
		}
	}
	if len(left) == 0 && !bytes.Contains(text, []byte("token_secret")) && !bytes.Contains(text, []byte("notify")) { // nor in a comment
		return text, nil, nil
	}
	root.Content = kept
	uncomment(root)
	public, err = yaml.Marshal(root)
	return public, left, err
}

// uncomment drops the comments of a document: a secret may have been commented out.
func uncomment(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, child := range n.Content {
		uncomment(child)
	}
}

// WithKeys is an agent.yaml with other values for some keys of the top level; "" removes a key.
func WithKeys(text []byte, keys map[string]string) ([]byte, error) {
	root, err := mapping(text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		root = &yaml.Node{Kind: yaml.MappingNode}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value, set := keys[key], false
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == key {
				root.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Value: value}
				set = true
			}
		}
		switch i := slices.IndexFunc(root.Content, func(n *yaml.Node) bool { return n.Value == key }); {
		case value == "" && i >= 0:
			root.Content = slices.Delete(root.Content, i, i+2)
		case value != "" && !set:
			root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
		}
	}
	return yaml.Marshal(root)
}

// Key is the value of a key of an agent.yaml; "" where it has none.
func Key(text []byte, key string) string {
	root, err := mapping(text)
	if err != nil || root == nil {
		return ""
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == key {
			return root.Content[i+1].Value
		}
	}
	return ""
}

// mapping is the map of keys that an agent.yaml is; nil where there are comments alone.
func mapping(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, errors.New("invalid YAML: expected a map of keys")
	}
	if doc.Kind == 0 || len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("invalid YAML: expected a map of keys")
	}
	return doc.Content[0], nil
}
