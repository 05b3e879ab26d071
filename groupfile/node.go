package groupfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is a place in the file. Its methods take nil for what is not there.
type node yaml.Node

func (n *node) isNull() bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// at is the line of n, or of its parent when n is not there.
func (n *node) at(parent *node) int {
	if n == nil {
		return parent.Line
	}
	return n.Line
}

func (n *node) scalar() (string, bool) { return n.Value, n.Kind == yaml.ScalarNode }

func (n *node) items() ([]*node, bool) {
	var all []*node
	for _, c := range n.Content {
		all = append(all, (*node)(c))
	}
	return all, n.Kind == yaml.SequenceNode
}

func (n *node) kind() string {
	switch {
	case n.isNull():
		return "empty"
	case n.Kind == yaml.ScalarNode:
		return "a text"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	}
	return "an alias" // which is refused before anybody asks
}

// syntaxError is how yaml reports where it got stuck.
var syntaxError = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// document returns the root of the only document in data; nil after a problem.
func (p *parser) document(data []byte) *node {
	if len(data) > MaxBytes {
		p.add(1, "the file is larger than %d bytes", MaxBytes)
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		p.add(1, "the file is empty")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err := d.Decode(&more); err == nil {
		p.add(more.Line, "a second document begins: one file declares one group")
		return nil
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 {
		p.add(1, "the file is empty")
		return nil
	}
	root := doc.Content[0]
	if !p.noAliases(root) {
		return nil
	}
	return (*node)(root)
}

func (p *parser) syntax(err error) {
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := syntaxError.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line, text = n, m[2]
		}
	}
	p.add(max(line, 1), "%s", text)
}

// noAliases refuses aliases: a group file has no use for them, and a small one
// could stand for a very large group.
func (p *parser) noAliases(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		p.add(n.Line, "aliases (*%s) cannot be used in a group file", n.Value)
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = p.noAliases(c) && ok
	}
	return ok
}

// fields returns the values of a mapping by key, and reports keys that are
// unknown or given twice; nil after it is no mapping.
func (p *parser) fields(n *node, what string, known ...string) map[string]*node {
	if n.Kind != yaml.MappingNode {
		p.add(n.Line, "%s is a mapping with %s, not %s", what, strings.Join(known, ", "), n.kind())
		return nil
	}
	values, lines := map[string]*node{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		first, again := lines[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			p.add(key.Line, "a key must be a word: %s has %s", what, strings.Join(known, ", "))
		case again:
			p.add(key.Line, "key %q is given already in line %d", key.Value, first)
		case !slices.Contains(known, key.Value):
			p.add(key.Line, "unknown key %q (%s)", key.Value, suggest(key.Value, known))
		default:
			values[key.Value] = (*node)(value)
		}
		if !again {
			lines[key.Value] = key.Line
		}
	}
	return values
}
