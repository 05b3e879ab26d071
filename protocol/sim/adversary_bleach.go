package sim

// bleach is a router on one path that clears the codepoint. The probes must
// find it.
func bleach() adversary {
	return adversary{
		name: "bleach",
		setup: func(w *World) {
			w.bleached = [2]int{w.random.below(len(w.hosts)), w.random.below(len(w.hosts))}
		},
		packet: func(w *World, p *packet, _ *fate) {
			if p != nil && w.bleached[0] != w.bleached[1] && w.bleached == [2]int{p.from, p.to} {
				p.colour(false)
			}
		},
	}
}
