package bpf

import "github.com/snapline/snapline"

// sum adds up the counters that each CPU keeps for itself.
func sum(perCPU []gateCounters) snapline.GateCounters {
	var s snapline.GateCounters
	for i := range perCPU {
		c := &perCPU[i]
		s.Out += c.Out
		s.In += c.In
		s.Marked += c.Marked
		s.Withheld += c.Withheld
		s.Leaked += c.Leaked
		s.NonIP += c.NonIp
	}
	return s
}
