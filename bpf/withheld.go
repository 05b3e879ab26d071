package bpf

import "github.com/cilium/ebpf/ringbuf"

// Withheld gets a value soon after the shield has withheld a POST packet. While
// nobody fetches it, further packets cost no wakeup. A value may come once more
// for packets that were withheld before the last one was fetched.
func (g *Gate) Withheld() <-chan struct{} { return g.withheld }

// forward turns notices into values of the channel. A notice is taken out of
// the ring before the value is offered, and the program leaves a new one only
// when the ring is empty: so a packet withheld at any time is followed by a
// value, and a flood of them stops at the second notice.
func (g *Gate) forward() {
	var notice ringbuf.Record
	for {
		if err := g.notices.ReadInto(&notice); err != nil {
			return // closed
		}
		select {
		case g.withheld <- struct{}{}:
		case <-g.done:
			return
		}
	}
}
