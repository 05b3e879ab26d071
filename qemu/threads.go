package qemu

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Threads says where QEMU's threads sleep, by the kernel's names (proc(5): comm,
// wchan), in no more than a line: for whoever has to find out why it answers
// nothing.
func (v *VM) Threads() string {
	var all []string
	for id := range v.proc.threads() {
		name, err := v.proc.proc("task/" + id + "/comm")
		if err != nil {
			continue // it has ended
		}
		where, err := v.proc.proc("task/" + id + "/wchan")
		if err != nil || len(where) == 0 || string(where) == "0" {
			where = []byte("running")
		}
		all = append(all, fmt.Sprintf("%s: %s", strings.TrimSpace(string(name)), where))
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, ", "), "none")
}
