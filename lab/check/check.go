// Package check exists so that every claim which a workload's checker makes is
// one line that a person and a program can both read.
package check

import (
	"fmt"
	"strings"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (c Check) String() string {
	verdict := "ok  "
	if !c.OK {
		verdict = "FAIL"
	}
	return fmt.Sprintf("%s  %s: %s", verdict, c.Name, c.Detail)
}

// List is what one checker looked at, in order.
type List []Check

// Add appends a check; detail is a format as for fmt.Sprintf.
func (l *List) Add(name string, ok bool, detail string, args ...any) {
	*l = append(*l, Check{name, ok, fmt.Sprintf(detail, args...)})
}

// OK reports whether something was looked at and every check holds.
func (l List) OK() bool {
	for _, c := range l {
		if !c.OK {
			return false
		}
	}
	return len(l) > 0
}

// String is one line for each check.
func (l List) String() string {
	lines := make([]string, len(l))
	for i, c := range l {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}
