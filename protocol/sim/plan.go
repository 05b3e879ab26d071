package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// plan draws what kind of history this is to be.
func (w *World) plan(with []string) string {
	r := &w.random
	members := 2 + r.below(4)
	unit := r.spread(2*time.Millisecond, 100*time.Millisecond)
	d := snapline.Deadlines{Ready: 40 * unit, Arm: time.Duration(1+r.below(8)) * unit, Cut: time.Duration(1+r.below(8)) * unit}
	// As tight as the rule allows: then a mistake in it shows.
	for d.Gate = d.Arm + d.Cut; d.Valid() != nil; d.Gate += d.Gate / 1000 {
	}
	w.foreign = make([]float64, members)
	for i := range members {
		h := newHost(w, i, clock{offset: moment(r.between(0, time.Hour))})
		h.pinned = r.chance(0.3)
		w.hosts, w.vms = append(w.hosts, h), append(w.vms, h.vm)
	}
	w.coordinator = newCoordinator(w, clock{offset: moment(r.between(0, time.Hour))})
	w.rounds = 1 + r.below(3)
	var names []string
	often := pick(r, 0, 0.06, 0.15, 0.3)
	for _, a := range adversaries() {
		if r.chance(often) || slices.Contains(with, a.name) {
			w.adversaries, names = append(w.adversaries, a), append(names, a.name)
		}
	}
	if len(names) == 0 { // nothing disturbs this one, so there must be time to do it
		d = snapline.DefaultDeadlines()
	}
	w.deadlines = d
	for _, a := range w.adversaries {
		if a.setup != nil {
			a.setup(w)
		}
	}
	return fmt.Sprintf("%d members, %d rounds, deadlines %v, adversaries: %s", members, w.rounds, d, strings.Join(names, ", "))
}
