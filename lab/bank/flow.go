package bank

import (
	"fmt"
	"time"
)

// Flow is one end of one flow, as its member sees it.
type Flow struct {
	Peer      string `json:"peer"`
	Transport string `json:"transport"` // tcp, udp, datagram
	// Connected: the flow can carry transfers, or could once.
	Connected bool `json:"connected"`
	// Transfers, Amount and Chain are the number, sum and digest of all
	// transfers that this end has sent, or has received. Datagrams may overtake
	// each other; the digest of theirs does not depend on the order.
	Transfers uint64 `json:"transfers"`
	Amount    uint64 `json:"amount"`
	Chain     uint64 `json:"chain,string"`
	// Repeated counts retransmissions at the sender and what it threw away for
	// having it already at the receiver. Always zero with TCP.
	Repeated uint64 `json:"repeated,omitempty"`
	// LongestGapMS is the receiver's longest time between two transfers while
	// the sender was busy, on its own clock, since ResetGaps.
	LongestGapMS float64 `json:"longest_gap_ms"`

	last   transfer  // the latest one
	gaps   gaps      // datagrams only
	lastAt time.Time // when it arrived
}

// sent accounts for the next transfer at the sender and numbers it.
func (f *Flow) sent(t transfer) transfer {
	t.Seq = f.Transfers + 1
	f.add(t)
	return t
}

func (f *Flow) add(t transfer) {
	f.Transfers++
	f.Amount += t.Amount
	if f.Transport == datagram {
		f.Chain += t.chain(0)
	} else {
		f.Chain = t.chain(f.Chain)
	}
	f.last = t
}

// received accounts for a transfer at the receiver. It reports whether it is
// new, or an error if no transfer like this can come next on this flow.
func (f *Flow) received(t transfer, now time.Time) (fresh bool, err error) {
	if f.Transport == datagram {
		if err := f.gaps.fill(t.Seq); err != nil {
			return false, fmt.Errorf("%s from %s: %w", f.Transport, f.Peer, err)
		}
		f.add(t)
		return true, nil
	}
	switch {
	case t.Seq == f.Transfers+1:
		if !f.lastAt.IsZero() && t.Flags&flagFirst == 0 {
			f.LongestGapMS = max(f.LongestGapMS, float64(now.Sub(f.lastAt))/float64(time.Millisecond))
		}
		f.lastAt = now
		f.add(t)
		return true, nil
	case t.Seq > f.Transfers:
		return false, fmt.Errorf("%s from %s: transfer %d came after %d: lost in between", f.Transport, f.Peer, t.Seq, f.Transfers)
	case f.Transport == "tcp":
		return false, fmt.Errorf("%s from %s: transfer %d came again after %d", f.Transport, f.Peer, t.Seq, f.Transfers)
	case t.Seq < f.Transfers:
		// An old repetition that the network held back.
		f.Repeated++
		return false, nil
	case t != f.last:
		return false, fmt.Errorf("%s from %s: transfer %d came again as another: %+v, before %+v", f.Transport, f.Peer, t.Seq, t, f.last)
	}
	f.Repeated++
	return false, nil
}
