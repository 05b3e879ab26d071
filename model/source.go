package model

import (
	"embed"
	"fmt"
	"regexp"
	"strconv"
)

//go:embed round.pml restore.pml
var sources embed.FS

// source returns a model's text.
func source(model string) ([]byte, error) { return sources.ReadFile(model + ".pml") }

var numbered = regexp.MustCompile(`(?m)^#define ([PC]_\w+)\s+(\d+)`)

// number finds the number of a property or of a state to be reached.
func number(model, name string) (int, error) {
	text, err := source(model)
	if err != nil {
		return 0, err
	}
	for _, m := range numbered.FindAllSubmatch(text, -1) {
		if string(m[1]) == name {
			return strconv.Atoi(string(m[2]))
		}
	}
	return 0, fmt.Errorf("%s.pml does not define %s", model, name)
}

// names lists a model's properties and states to be reached.
func names(model string) ([]string, error) {
	text, err := source(model)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, m := range numbered.FindAllSubmatch(text, -1) {
		all = append(all, string(m[1]))
	}
	return all, nil
}
