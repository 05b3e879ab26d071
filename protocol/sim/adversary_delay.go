package sim

import "time"

// delay holds up control messages, some for longer than any deadline.
func delay() adversary {
	var p float64
	var most time.Duration
	return adversary{
		name: "delay",
		setup: func(w *World) {
			p = pick(&w.random, 0.05, 0.3)
			most = pick(&w.random, 10*time.Millisecond, 100*time.Millisecond, 3*time.Second)
		},
		letter: func(w *World, _ letter, f *fate) {
			if w.random.chance(p) {
				f.delay += w.random.spread(time.Millisecond, most)
			}
		},
	}
}
