package snapline

import "context"

// NIC is one network interface of a virtual machine, seen from its host.
type NIC struct {
	// ID is the QEMU netdev id.
	ID string `json:"id"`
	// Tap is the host's interface that carries the frames; empty when the back
	// end is not a tap (user-mode network, passthrough, …).
	Tap string `json:"tap,omitempty"`
	// Bridge is the Linux bridge that the tap is a port of; empty if none.
	Bridge string `json:"bridge,omitempty"`
	// MAC is the guest's address, aa:bb:cc:dd:ee:ff.
	MAC string `json:"mac"`
	// Backend is QEMU's name of the back end: tap, user, bridge, vhost-user, …
	Backend string `json:"backend"`
	// Reader is the process that reads the tap, which its queue can be asked for;
	// 0 where it is not known, as in what is stored or sent.
	Reader int `json:"-"`
}

// Codepoint is a DSCP value, 0 to 63.
type Codepoint uint8

// PostCodepoint is the default mark of packets sent after the cut: 0x2b, of
// the xxxx11 pool that RFC 2474 section 6 leaves to experimental and local use.
const PostCodepoint Codepoint = 0x2b

// Gates attaches gates to virtual machines' taps. One implementation is
// package bpf; it must be usable from several goroutines.
type Gates interface {
	// Open attaches a gate with all rules off to every NIC, or to none: it fails
	// when one of them cannot be covered. From then on the gate counts.
	Open(ctx context.Context, nics []NIC, post Codepoint) (Gate, error)
	// Reconcile removes gates that an earlier life of this agent left behind on
	// this host. Called once, before the first Open.
	Reconcile(ctx context.Context) error
	// Announce makes the network look for the NICs' addresses here, before the VM
	// runs: what others send to it meanwhile waits at its tap.
	Announce(ctx context.Context, nics []NIC) error
	// Deliver hands Ethernet frames to a running VM, in their order, as if they came
	// from its network. It returns when its hypervisor has read them.
	Deliver(ctx context.Context, nics []NIC, frames [][]byte) error
}

// Gate stands at the network edge of one virtual machine, on all of its NICs.
// Its methods may be called from several goroutines.
type Gate interface {
	// Set replaces the rules on all NICs by one map update.
	Set(GateRules) error
	// Counters reads the sums over all NICs since Open.
	Counters() (GateCounters, error)
	// Withheld gets a value soon after the shield has withheld a POST packet. At
	// most one value is pending; it is never closed.
	Withheld() <-chan struct{}
	// Probe sends marked probe frames, carrying the round's nonce and the
	// sender's number, from each of this gate's NICs to each target address,
	// through the members' own networks.
	Probe(ctx context.Context, nonce uint64, sender uint32, targets []string) error
	// Probes returns what arrived of the probes with that nonce: sender's number
	// to the codepoint that its probe still had here. Probes never reach the VM.
	Probes(nonce uint64) (map[uint32]Codepoint, error)
	// Record remembers every IP packet, but IPv6's neighbour discovery, from now until the given instant, or
	// Recorded; it may be called again to move the end. What cannot be remembered
	// is counted.
	Record(until Instant) error
	// Recorded ends the recording and returns it, the empty one when Record was
	// never called. It can be asked for once.
	Recorded() (Recording, error)
	// Close takes the gate down; packets pass untouched. Closing twice is fine.
	Close() error
}

// GateRules are the gate's two independent switches. Each is a deadline on
// CLOCK_BOOTTIME which the packet path itself checks; Never switches it off.
type GateRules struct {
	// MarkUntil: until then every IP packet that leaves the VM is marked POST.
	MarkUntil Instant
	// ShieldUntil: until then POST packets do not reach the VM.
	ShieldUntil Instant
}

// GateCounters count packets at one gate since it was opened.
type GateCounters struct {
	Out      uint64 `json:"out"`      // frames that left the VM
	In       uint64 `json:"in"`       // frames that reached the VM
	Marked   uint64 `json:"marked"`   // left marked POST by the gate
	Withheld uint64 `json:"withheld"` // POST packets that did not reach the VM
	// Leaked counts POST packets that reached the VM because the shield was not
	// up. Any leak before the member's cut makes the cut worthless.
	Leaked uint64 `json:"leaked"`
	// NonIP counts frames withheld, in either direction, because they are
	// neither IP nor ARP and so can carry no mark.
	NonIP uint64 `json:"non_ip"`
}
