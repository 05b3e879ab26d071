package snapline

import "net/netip"

// Packet is one packet as it passed, or did not pass, the gate of one virtual
// machine. It holds what stays the same on the way to another gate, so that
// the same packet can be recognised there although it was marked, and although
// segmentation offload cut it or put it together differently.
type Packet struct {
	// At is when the gate saw it, on the host's CLOCK_BOOTTIME.
	At Instant
	// Inbound packets were on their way to the VM, others left it.
	Inbound bool
	// Withheld packets did not go further.
	Withheld bool
	// Marked packets carried POST behind the gate: outbound ones from then on,
	// inbound ones on arrival.
	Marked bool
	// Protocol is IP's protocol number; of a fragment that is not the first one,
	// ports and everything of TCP are zero.
	Protocol uint8
	// Source and Destination have port 0 where the protocol has no ports.
	Source, Destination netip.AddrPort
	// ID is IPv4's identification and Fragment its flags and offset, in host
	// order; of IPv6, whose fragments are recorded as such, zero.
	ID, Fragment uint16
	// Sequence, Acknowledgement, Flags, Window and Timestamp (TSval of RFC 7323, 0
	// without) are TCP's; Flags are the low byte.
	Sequence, Acknowledgement, Timestamp uint32
	Flags                                uint8
	Window                               uint16
	// Length is that of what follows the transport header, or the IP header where
	// the protocol is neither TCP nor UDP, in bytes.
	Length uint32
	// Digest is of the first DigestedBytes of that, or of all when it is shorter:
	// good against chance, not against an adversary.
	Digest uint64
}

// DigestedBytes is how much of a packet's payload its Digest covers.
const DigestedBytes = 128

// Recording is what a Gate has recorded.
type Recording struct {
	Packets []Packet // not quite in the order of At
	// Lost counts packets that could not be recorded.
	Lost uint64
	// Frames are, with their content, packets on their way to the VM that may have
	// been in transit across the cut: all unmarked ones while the gate marked, and
	// what is not TCP also until the recording ended; and the marked ones, withheld
	// or not, that are not TCP. LostFrames counts those that could not be kept.
	Frames     []Frame
	LostFrames uint64
	// Drained are instants, in order, at which the hypervisor had read every frame
	// that had passed the gate on its way to the VM: none waited at the host.
	Drained []Instant
}

// Frame is an Ethernet frame on its way to a VM. At is that of its Packet.
type Frame struct {
	At     Instant
	Marked bool
	Length int // of the frame, in bytes; Data may be the first part of it
	Data   []byte
}

// Trace is what one member's gate has recorded in a round.
type Trace struct {
	Member MemberName
	Host   HostName
	// CutBegan and CutEnded are when the member's cut was asked for and when it was
	// known to be made: its instant lies between them. Paused and Resumed are when
	// the VM stood still, as the hypervisor says; zero when it does not.
	CutBegan, CutEnded, Paused, Resumed Instant
	// Lost counts packets of the window that could not be recorded.
	Lost    uint64
	Packets []Packet // in the order of At
}
