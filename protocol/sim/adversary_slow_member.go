package sim

// slowMember is a host on which everything takes much longer.
func slowMember() adversary {
	return adversary{
		name: "slow member",
		setup: func(w *World) {
			w.hosts[w.random.below(len(w.hosts))].slow = pick(&w.random, 3, 10, 40)
		},
	}
}
