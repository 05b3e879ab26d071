package sim

import "github.com/snapline/snapline/protocol"

// adversary is one kind of trouble. Each hook may be nil; all are called only
// during the storm, setup before it.
type adversary struct {
	name   string
	setup  func(w *World)
	letter func(w *World, l letter, f *fate)
	packet func(w *World, p *packet, f *fate) // p is nil for a probe
	step   func(w *World, p *process, in protocol.Input)
}

// adversaries returns all kinds of trouble, fresh for one history.
func adversaries() []adversary {
	return []adversary{drop(), delay(), duplicate(), reorder(), partition(), crashAgent(), crashCoordinator(),
		clockRate(), foreignPost(), slowMember(), slowSnapshot(), stall(), failing(), badData(), bleach(), cancel(), vmGone()}
}
