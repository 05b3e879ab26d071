package sim

// failing lets effects fail: hypervisor, gate, repository.
func failing() adversary {
	return adversary{
		name:  "failing",
		setup: func(w *World) { w.failing = pick(&w.random, 0.005, 0.03) },
	}
}
