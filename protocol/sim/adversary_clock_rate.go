package sim

// clockRate lets every machine's clock go wrong by up to 1 %, which is as much
// as the deadlines allow for; the extremes are the most likely.
func clockRate() adversary {
	return adversary{
		name: "clock rate",
		setup: func(w *World) {
			draw := func() int64 { return pick(&w.random, -10_000, 10_000, int64(w.random.below(20_001))-10_000) }
			for _, h := range w.hosts {
				h.clock.ppm = draw()
			}
			w.coordinator.clock.ppm = draw()
		},
	}
}
