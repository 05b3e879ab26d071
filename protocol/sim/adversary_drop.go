package sim

// drop loses control messages.
func drop() adversary {
	var p float64
	return adversary{
		name:   "drop",
		setup:  func(w *World) { p = pick(&w.random, 0.02, 0.1, 0.3, 0.6) },
		letter: func(w *World, _ letter, f *fate) { f.lost = f.lost || w.random.chance(p) },
	}
}
