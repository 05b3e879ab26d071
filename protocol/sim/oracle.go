package sim

import "fmt"

// judge is the oracle. It knows nothing of the protocol, only what a consistent
// cut is: for every snapshot that ever existed, no packet that was sent after
// its sender's local snapshot was received before its receiver's.
func (w *World) judge() {
	for _, record := range w.repository.ever {
		cut := map[int]uint64{}
		for _, part := range record.Parts {
			i := w.known(part.Object.Digest)
			if i.round != record.Round {
				w.fault(fmt.Sprintf("the snapshot of round %d holds data of round %d", record.Round, i.round))
			}
			cut[i.member] = i.order
		}
		if len(cut) != len(w.hosts) {
			w.fault(fmt.Sprintf("the snapshot of round %d holds %d members of %d", record.Round, len(cut), len(w.hosts)))
			continue
		}
		for _, p := range w.packets {
			if p.sent > cut[p.from] && p.got != 0 && p.got < cut[p.to] {
				w.stats.Orphans++
				w.fault(fmt.Sprintf("orphan in the snapshot of round %d: %v was sent after %d and received at %d, before %d",
					record.Round, p, cut[p.from], p.got, cut[p.to]))
			}
		}
	}
}
