package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
	"github.com/snapline/snapline/protocol"
)

// readChannel gets the members' packets in transit ready, before anything is
// stopped.
func (r *restoreRunner) readChannel(ctx context.Context, repo snapline.Repository, p protocol.PlanRestore) []snapline.Reason {
	s, err := repo.Snapshot(ctx, p.Snapshot)
	if err != nil {
		return []snapline.Reason{r.reason("", err)}
	}
	report, err := evidence.ReadAll(ctx, repo, s)
	if err != nil {
		return []snapline.Reason{r.reason("", err)}
	}
	channel := map[snapline.MemberName][][]byte{}
	var reasons []snapline.Reason
	for _, d := range report.Channel.Deliveries {
		i := slices.IndexFunc(p.Members, func(m snapline.MemberSnapshot) bool { return m.Name == d.Frame.Member })
		if i < 0 {
			continue
		}
		frame := d.Bytes()
		if !addressed(frame, p.Members[i].VM.NICs) {
			reasons = append(reasons, r.reason(d.Frame.Member, fmt.Errorf("a packet in transit is for %s, and it is not known which of the NICs that was", net.HardwareAddr(frame[:6]))))
			continue
		}
		channel[d.Frame.Member] = append(channel[d.Frame.Member], frame)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.channel = channel
	return reasons
}

// addressed reports whether it is clear which NIC a frame is for. With several,
// one that is for a group of receivers may have come by any of them.
func addressed(frame []byte, nics []snapline.NIC) bool {
	return len(nics) == 1 || slices.ContainsFunc(nics, func(n snapline.NIC) bool {
		mac, err := net.ParseMAC(n.MAC)
		return err == nil && bytes.HasPrefix(frame, mac)
	})
}

// replay delivers the packets in transit, member by member, and returns how many
// that were. It is called once: the machine sees to that.
func (r *restoreRunner) replay(ctx context.Context, p protocol.PlanRestore) (int, []snapline.Reason) {
	r.mu.Lock()
	channel := r.channel
	r.channel = nil
	r.mu.Unlock()
	delivered := 0
	var reasons []snapline.Reason
	for _, part := range p.Members {
		frames := channel[part.Name]
		if err := r.agent.Gates.Deliver(ctx, r.nics[part.Name], frames); err != nil {
			reasons = append(reasons, r.reason(part.Name, fmt.Errorf("packets in transit: %w", err)))
			continue
		}
		delivered += len(frames)
	}
	return delivered, reasons
}
