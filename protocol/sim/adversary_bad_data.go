package sim

import "time"

// badData is a bad data network: packets are lost, come twice, and come late,
// even after the round that marked them.
func badData() adversary {
	var loss, twice, late float64
	return adversary{
		name: "bad data network",
		setup: func(w *World) {
			loss, twice, late = pick(&w.random, 0, 0.02, 0.2), pick(&w.random, 0, 0.1), pick(&w.random, 0, 0.05, 0.3)
		},
		packet: func(w *World, _ *packet, f *fate) {
			f.lost = f.lost || w.random.chance(loss)
			if w.random.chance(twice) {
				f.again = append(f.again, w.random.spread(time.Millisecond, 200*time.Millisecond))
			}
			if w.random.chance(late) {
				f.delay += w.random.spread(time.Millisecond, 2*time.Second)
			}
		},
	}
}
