package sim

import (
	"fmt"

	"github.com/snapline/snapline"
)

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
		w.judgeSilence(record.Round, cut)
		for _, p := range w.packets {
			if p.sent > cut[p.from] && p.got != 0 && p.got < cut[p.to] {
				w.stats.Orphans++
				w.fault(fmt.Sprintf("orphan in the snapshot of round %d: %v was sent after %d and received at %d, before %d",
					record.Round, p, cut[p.from], p.got, cut[p.to]))
			}
		}
	}
}

// judgeSilence knows what a drain is for: of a snapshot whose members were to be
// silent before it, nothing that a member did after its instant has left its host
// before the silence ended, by word, by the kernel's clock, or with the machine. So
// a restore until then takes back nothing that anybody has heard.
func (w *World) judgeSilence(r snapline.Round, cut map[int]uint64) {
	if !w.hushed[r] {
		return
	}
	for i, h := range w.hosts {
		span := h.hush.spans[r]
		if span == nil {
			w.fault(fmt.Sprintf("%s was to be silent in round %d, and never was", h.name, r))
			continue
		}
		for _, p := range w.packets {
			if p.from == i && p.left && p.sent > cut[i] && (span[1] == 0 || p.sent < span[1]) {
				w.stats.Heard++
				w.fault(fmt.Sprintf("%v left %s after its instant %d of round %d, and its silence lasted until %d", p, h.name, cut[i], r, span[1]))
			}
		}
	}
}
