package sim

import "time"

// duplicate delivers copies of control messages, some of them much later.
func duplicate() adversary {
	var p float64
	return adversary{
		name:  "duplicate",
		setup: func(w *World) { p = pick(&w.random, 0.05, 0.4) },
		letter: func(w *World, _ letter, f *fate) {
			for w.random.chance(p) {
				f.again = append(f.again, w.random.spread(100*time.Microsecond, 2*time.Second))
			}
		},
	}
}
