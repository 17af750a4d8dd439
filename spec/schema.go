package spec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// schema is the shape for editors.
func (s *shape[T]) schema() *jsonschema.Schema {
	o := &jsonschema.Schema{
		Type:                 "object",
		Properties:           map[string]*jsonschema.Schema{},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
	var unless []string
	key := ""
	for _, f := range s.fields {
		p := *f.schema
		p.Description = fmt.Sprintf("%s (%s)", f.Doc, f.Class)
		if f.numbered > 0 {
			if o.PatternProperties == nil {
				o.PatternProperties = map[string]*jsonschema.Schema{}
			}
			o.PatternProperties["^"+strings.TrimSuffix(f.Path, "N")+"(0|[1-9][0-9]{0,2})$"] = &p
			continue
		}
		o.Properties[f.Path] = &p
		o.PropertyOrder = append(o.PropertyOrder, f.Path)
		switch {
		case f.missing != "" && f.unless != "":
			unless, key = append(unless, f.Path), f.unless
		case f.missing != "":
			o.Required = append(o.Required, f.Path)
		}
	}
	if len(unless) > 0 {
		o.AnyOf = []*jsonschema.Schema{{Required: unless}, {Required: []string{key}}}
	}
	return o
}

// defaultsSchema is that of the defaults: the same keys, none of them required.
func defaultsSchema() *jsonschema.Schema {
	part := func(s *jsonschema.Schema) *jsonschema.Schema {
		s.Required, s.AnyOf = nil, nil
		for _, key := range noDefaults {
			delete(s.Properties, key)
			s.PropertyOrder = slices.DeleteFunc(s.PropertyOrder, func(k string) bool { return k == key })
		}
		return s
	}
	return &jsonschema.Schema{Type: "object", Description: "What every restore or guest gets that does not say otherwise; maps are merged key by key.",
		Properties:           map[string]*jsonschema.Schema{"restores": part(restoreShape.schema()), "guests": part(guestShape.schema())},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
}

// Schema is the JSON Schema (draft 2020-12) of the language, for editors. What
// it refuses Load refuses too; Load knows more.
func Schema() ([]byte, error) {
	section := func(doc string, s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", Description: doc, AdditionalProperties: s}
	}
	node := typed("string")
	node.Description = "The node on which the objects of this file are created."
	root := &jsonschema.Schema{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		Title:  "felhom-agent: desired state of a Proxmox VE node",
		Type:   "object",
		Properties: map[string]*jsonschema.Schema{
			"node":      node,
			"mounts":    section("USB disks mounted on the host by the UUID of their file system.", mountShape.schema()),
			"golden":    section("Guests built once from a template and published as an archive.", goldenShape.schema()),
			"restores":  section("Guests made by restoring an archive.", restoreShape.schema()),
			"guests":    section("Guests that already exist.", guestShape.schema()),
			"snapshots": section("Named and periodic snapshots.", snapshotShape.schema()),
			"backups":   section("Periodic backups.", backupShape.schema()),
			"tests":     section("Periodic restore tests of backups.", testShape.schema()),
			"defaults":  defaultsSchema(),
		},
		PropertyOrder:        []string{"node", "mounts", "golden", "restores", "guests", "snapshots", "backups", "tests", "defaults"},
		PatternProperties:    map[string]*jsonschema.Schema{"^x-": {Description: "Yours, for YAML anchors."}},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("spec: printing the schema: %w", err)
	}
	return append(text, '\n'), nil
}
