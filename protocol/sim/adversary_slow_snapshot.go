package sim

// slowSnapshot is a hypervisor that now and then takes its time for a snapshot:
// as long as a gate lives, or longer.
func slowSnapshot() adversary {
	return adversary{
		name: "slow snapshot",
		setup: func(w *World) {
			w.hosts[w.random.below(len(w.hosts))].lazy = pick(&w.random, 0.1, 0.5)
		},
	}
}
