package protocol

import "github.com/snapline/snapline"

// blame adds one reason; what is found in the plan refuses the restore.
func (r *Restore) blame(h *restoreHost, reason snapline.Reason) {
	if r.problem == nil {
		r.problem = &snapline.Error{Code: snapline.CodeFailed,
			Message: "the restore failed and what had been loaded was stopped again; the snapshot is intact",
			Hint:    "mend the cause and restore again; it is safe to repeat"}
		switch {
		case r.phase == RestoreReplay && h.lost:
			r.problem.Message = "the members were let run, but a host was lost meanwhile, and the packets in transit may not have reached its members"
			r.problem.Hint = "see whether that host's members run; restore again to have the packets delivered"
		case r.phase == RestoreOpen && h.lost:
			r.problem.Message = "the members were let run, but a host was lost meanwhile and its members may not run"
			r.problem.Hint = "see whether that host's members run; restore again if they do not"
		case r.phase == RestorePlan:
			r.problem = &snapline.Error{Code: snapline.CodeRefused, Message: "the snapshot cannot be restored there; nothing was touched"}
		}
	}
	if reason.Damaged {
		r.problem.Code = snapline.CodeDamaged
	}
	if reason.Host == "" {
		reason.Host = h.name
	}
	r.problem.Reasons = append(r.problem.Reasons, reason)
	sortReasons(r.problem.Reasons)
}

func (r *Restore) lost(in HostLost) []Effect {
	h := r.host(in.Host)
	if h == nil || h.lost || r.phase == RestoreEnd {
		return nil
	}
	h.lost = true
	if r.phase == RestoreUndo {
		return r.advance()
	}
	return r.fail(h, in.Reason)
}

// fail ends the restore: at once while nothing is touched, otherwise after the
// members that were loaded have been stopped. Members are never left half
// restored and running.
func (r *Restore) fail(h *restoreHost, reasons ...snapline.Reason) []Effect {
	if r.phase == RestoreUndo || r.phase == RestoreEnd {
		return nil
	}
	if len(reasons) == 0 {
		// Only a broken peer says so; but without a problem the undo would pass
		// for a success.
		reasons = []snapline.Reason{{Text: "failed without a reason"}}
	}
	for _, reason := range reasons {
		r.blame(h, reason)
	}
	switch r.phase {
	case RestorePlan:
		h.at = RestorePlan
		return r.advance()
	case RestoreOpen, RestoreReplay:
		if h.lost {
			// The others run already and this host may run too: killing a group
			// that may be whole would lose what it does from now on.
			return r.advance()
		}
	}
	return r.enter(RestoreUndo)
}

// reborn goes on with the undo at a host whose agent was restarted: what its
// former life loaded may still wait there, or even run, and the new one must be
// told the plan before it can end that.
func (r *Restore) reborn(h *restoreHost, life snapline.Incarnation) []Effect {
	if !r.waitsFor(h) {
		return nil
	}
	h.life, h.replan = life, true
	return []Effect{RestoreSend{h.name, r.request(h)}}
}

// replanned asks for the undo as soon as an answer shows that the new life
// knows the plan, whatever it may have against loading.
func (r *Restore) replanned(h *restoreHost, msg RestoreMessage) []Effect {
	switch msg.(type) {
	case RestoreFailed:
		return nil // sent before it heard the plan
	case Undone:
		h.replan = false
		return r.done(h, RestoreUndo)
	}
	h.replan = false
	return []Effect{RestoreSend{h.name, r.request(h)}}
}

func (r *Restore) end() []Effect {
	r.phase = RestoreEnd
	e := RestoreDone{Problem: r.problem, LoadMS: map[snapline.MemberName]float64{}, Silent: r.silent}
	var first, last snapline.Instant
	for _, h := range r.hosts {
		e.Packets += h.packets
		for n, v := range h.loadMS {
			e.LoadMS[n] = v
		}
		if r.opened && h.lost && len(h.members) > 0 {
			e.Left = append(e.Left, h.name)
		}
		if h.opened == snapline.Never {
			continue
		}
		if first == snapline.Never || h.opened < first {
			first = h.opened
		}
		last = max(last, h.opened)
	}
	e.SkewMS = ms(last.Sub(first))
	return []Effect{e}
}
