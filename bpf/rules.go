package bpf

import "github.com/snapline/snapline"

// encode returns the rules as the program reads them. There a deadline is
// unsigned: a negative one, which has always passed, must not become one that
// never does.
func encode(r snapline.GateRules) gateRules {
	return gateRules{
		MarkUntil:   uint64(max(r.MarkUntil, snapline.Never)),
		ShieldUntil: uint64(max(r.ShieldUntil, snapline.Never)),
	}
}
