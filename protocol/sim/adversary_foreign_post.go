package sim

// foreignPost is a guest that uses the POST codepoint itself: it can bring a
// shield to withhold a packet although nobody has cut.
func foreignPost() adversary {
	return adversary{
		name: "foreign post",
		setup: func(w *World) {
			w.foreign[w.random.below(len(w.hosts))] = pick(&w.random, 0.01, 0.05, 0.2)
		},
	}
}
