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
	// Way is the one that is noted; the zero Way: none is.
	Way snapline.Way
}

// FromVM judges a frame that the VM sends; see Gate.FromVM.
func (f Fence) FromVM(frame []byte, now snapline.Instant) FenceOutcome {
	if f.shut(now) || now < f.Rules.HushedUntil {
		return FenceOutcome{Counters: snapline.FenceCounters{Shut: 1}}
	}
	kind, at := parse(frame)
	o := FenceOutcome{Pass: true, Frame: frame}
	if kind != ipv4 && kind != ipv6 {
		return o
	}
	if f.Rules.Leased() && !discoversNeighbours(frame, kind, at) {
		o.Way = snapline.Way{From: address(frame, kind, at, 0), To: address(frame, kind, at, 1), Last: now}
	}
	if now < f.Rules.RestoredUntil {
		o.Frame, o.Counters.Restored = setCodepoint(frame, kind, at, f.Restored), 1
	}
	return o
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
	if k != ipv4 && k != ipv6 {
		return false
	}
	return slices.Contains(f.Members.IPs, address(frame, k, at, 0))
}

// address is the source (0) or destination (1) of the IP packet at that offset.
func address(frame []byte, k kind, at, which int) netip.Addr {
	if k == ipv4 {
		return netip.AddrFrom4([4]byte(frame[at+12+4*which:]))
	}
	return netip.AddrFrom16([16]byte(frame[at+8+16*which:]))
}
