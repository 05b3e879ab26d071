package evidence_test

import "github.com/snapline/snapline/evidence"

// truth is the verdict of one who has seen everything. Before holds what is
// before, and also what is unmatched: whether an old packet can be proven old
// is luck.
func (w *world) truth() evidence.Verdict {
	var v evidence.Verdict
	for _, s := range w.sendings {
		if !s.recorded || len(s.to) == 0 {
			continue
		}
		worst := 0
		for _, to := range s.to {
			worst = max(worst, w.fate(s, to))
		}
		v.Packets++
		switch worst {
		case fateDropped:
			v.Dropped++
		case fateAfter:
			v.After++
		case fateBefore:
			v.Before++
		case fateWithheld:
			v.Withheld++
		case fateInTransit:
			v.InTransit++
		case fateOrphan:
			v.Orphans++
		}
	}
	for _, a := range w.arrivals {
		if !a.recorded || len(a.pieces) == 0 || !unrecorded(a) {
			continue
		}
		v.Packets++
		if a.withheld {
			v.Withheld++
		} else {
			v.Before++
		}
	}
	return v
}

func unrecorded(a *arrival) bool {
	for _, p := range a.pieces {
		if !p.of.recorded {
			return true
		}
	}
	return false
}

const (
	fateDropped = iota
	fateAfter
	fateBefore
	fateWithheld
	fateInTransit
	fateOrphan
)

func (w *world) fate(s *sending, to *vm) int {
	sentBefore := s.at < s.from.began
	whole, early, late, held, any := true, false, false, false, false
	for _, p := range s.pieces {
		arrived := false
		for _, a := range p.fate[to] {
			if !a.recorded {
				continue
			}
			any = true
			switch {
			case a.withheld:
				held = true
			case a.at < to.ended:
				arrived, early = true, true
			default:
				late = true
			}
		}
		whole = whole && arrived
	}
	switch {
	case !sentBefore && early:
		return fateOrphan
	case sentBefore && whole:
		return fateBefore
	case sentBefore && late:
		return fateInTransit
	case late:
		return fateAfter
	case held:
		return fateWithheld
	case !sentBefore:
		return fateAfter
	case any:
		return fateBefore
	}
	return fateDropped
}

// orphans counts the packets whose receipt is in a captured state while nothing
// with the same content was sent in any captured state.
func (w *world) orphans() int {
	sentBefore := map[content]bool{}
	for _, s := range w.sendings {
		if s.at < s.from.instant {
			for _, p := range s.pieces {
				sentBefore[p.content] = true
			}
		}
	}
	n := 0
	for _, a := range w.arrivals {
		if a.withheld || a.at >= a.to.instant {
			continue
		}
		for _, p := range a.pieces {
			if !sentBefore[p.content] {
				n++
				break
			}
		}
	}
	return n
}
