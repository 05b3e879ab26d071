package sim

import "time"

// reorder lets every second control message be overtaken by what follows it.
func reorder() adversary {
	return adversary{
		name: "reorder",
		letter: func(w *World, _ letter, f *fate) {
			if w.random.chance(0.5) {
				f.delay += w.random.between(0, 5*time.Millisecond)
			}
		},
	}
}
