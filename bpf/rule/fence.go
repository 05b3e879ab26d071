package rule

import (
	"net"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// Fence is a fence's settings, and the specification of ../fence.c as Gate is
// that of ../gate.c.
type Fence struct {
	Restored snapline.Codepoint
	Rules    snapline.FenceRules
	Members  snapline.MemberAddresses
}

// FenceOutcome is what becomes of one frame at a fence.
type FenceOutcome struct {
	Pass     bool
	Frame    []byte
	Counters snapline.FenceCounters
}

// FromVM judges a frame that the VM sends; see Gate.FromVM.
func (f Fence) FromVM(frame []byte, now snapline.Instant) FenceOutcome {
	if f.shut(now) {
		return FenceOutcome{Counters: snapline.FenceCounters{Shut: 1}}
	}
	kind, at := parse(frame)
	if now >= f.Rules.RestoredUntil || kind != ipv4 && kind != ipv6 {
		return FenceOutcome{Pass: true, Frame: frame}
	}
	return FenceOutcome{Pass: true, Frame: setCodepoint(frame, kind, at, f.Restored), Counters: snapline.FenceCounters{Restored: 1}}
}

// ToVM judges a frame on its way to the VM.
func (f Fence) ToVM(frame []byte, now snapline.Instant) FenceOutcome {
	if f.shut(now) {
		return FenceOutcome{Counters: snapline.FenceCounters{Shut: 1}}
	}
	kind, at := parse(frame)
	passes := now >= f.Rules.RefuseUntil ||
		kind == arp || discoversNeighbours(frame, kind, at) ||
		kind != other && codepoint(frame, kind, at) == f.Restored ||
		!f.fromMember(frame, kind, at)
	if !passes {
		return FenceOutcome{Counters: snapline.FenceCounters{Refused: 1}}
	}
	return FenceOutcome{Pass: true, Frame: frame}
}

func (f Fence) shut(now snapline.Instant) bool {
	return f.Rules.Leased() && now >= f.Rules.OpenUntil
}

// fromMember recognises a member by its MAC address, which is certain on one
// segment, or by its IP address, which a router leaves alone.
func (f Fence) fromMember(frame []byte, k kind, at int) bool {
	if len(frame) < 12 {
		return false
	}
	if slices.Contains(f.Members.MACs, net.HardwareAddr(frame[6:12]).String()) {
		return true
	}
	var source netip.Addr
	switch k {
	case ipv4:
		source, _ = netip.AddrFromSlice(frame[at+12 : at+16])
	case ipv6:
		source, _ = netip.AddrFromSlice(frame[at+8 : at+24])
	default:
		return false
	}
	return slices.Contains(f.Members.IPs, source)
}
