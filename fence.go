package snapline

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Fences puts fences at virtual machines' taps. Where a Gate stands for the
// moments of a round and goes with the agent that opened it, a fence stands for
// as long as its machine must not speak to everybody: it outlives the agent,
// however that ends, and goes with the taps. One implementation is package bpf;
// package fencetest says what each must do. Safe for use from several
// goroutines.
type Fences interface {
	// Raise puts a fence on every NIC, or on none. The fence is in the packet path
	// when it returns.
	Raise(ctx context.Context, s FenceSpec) (Fence, error)
	// Standing finds the fences of this host, those of an agent's earlier lives
	// among them. What cannot be read comes joined in the error, beside the good
	// ones.
	Standing(ctx context.Context) ([]Fence, error)
}

// FenceSpec says what a fence is for.
type FenceSpec struct {
	Owner FenceOwner
	NICs  []NIC
	// Rules are those that it begins with; the zero ones shut it.
	Rules FenceRules
	// Restored is the codepoint of members in quarantine.
	Restored Codepoint
	// Members are the addresses of all members of the group, by which the packets of
	// the old timeline are known. Without any, the fence refuses nobody.
	Members MemberAddresses
}

// FenceOwner says whose fence it is. The whole Member, so that whoever finds the
// fence can stop the machine.
type FenceOwner struct {
	Group  GroupName `json:"group"`
	Member Member    `json:"member"`
}

// MemberAddresses are how members are recognised as the senders of packets: by
// MAC address, aa:bb:cc:dd:ee:ff, on their own segment, by IP address behind a
// router.
type MemberAddresses struct {
	MACs []string     `json:"macs,omitempty"`
	IPs  []netip.Addr `json:"ips,omitempty"`
}

// RestoredCodepoint is the default mark of members in quarantine: of the same
// pool as PostCodepoint.
const RestoredCodepoint Codepoint = 0x2f

// DefaultQuarantine is how long packets may be under way in an ordinary network;
// docs/PROTOCOL.md says why.
const DefaultQuarantine = 5 * time.Second

// CheckQuarantine reports whether a quarantine makes sense.
func CheckQuarantine(d time.Duration) error {
	if d <= 0 || d > time.Minute {
		return fmt.Errorf("quarantine %v: give more than none and at most a minute", d)
	}
	return nil
}

// Always as a deadline is one that never passes.
const Always Instant = math.MaxInt64

// FenceRules are what a fence lets pass. Each is a deadline on CLOCK_BOOTTIME
// which the packet path itself checks.
type FenceRules struct {
	// OpenUntil: until then frames pass; from then on none does, of whatever
	// kind, in either direction. Never shuts the fence; Always is no limit, and any
	// other value is a lease.
	OpenUntil Instant
	// RestoredUntil: until then every IP packet that leaves the VM is marked
	// RESTORED.
	RestoredUntil Instant
	// RefuseUntil: until then packets from members' addresses that are not marked
	// RESTORED do not reach the VM. ARP and IPv6's neighbour discovery do.
	RefuseUntil Instant
	// HushedUntil: until then no frame leaves the VM, of whatever kind; those to it
	// go by the other rules, as all do afterwards.
	HushedUntil Instant
}

// Leased reports whether the fence closes by itself one day.
func (r FenceRules) Leased() bool { return r.OpenUntil != Always }

// FenceCounters count frames at one fence since it was raised. What passes
// unchanged is not counted: a fence may stand for months.
type FenceCounters struct {
	Shut     uint64 `json:"shut"`     // did not pass, in either direction, because the fence was shut, or did not leave because the VM was hushed
	Restored uint64 `json:"restored"` // left marked RESTORED
	Refused  uint64 `json:"refused"`  // of the old timeline, did not reach the VM
	Unnoted  uint64 `json:"unnoted"`  // left under a lease on a way for which there was no room
}

// Way is between which addresses packets have left the VM under a lease. Group
// addresses are ways like others; neighbour discovery, and what is not IP, is
// none.
type Way struct {
	From, To netip.Addr
	// Last is when the last packet did, on CLOCK_BOOTTIME.
	Last Instant
}

// MaxWays bounds the ways that a fence has noted and nobody has told it to forget.
const MaxWays = 2048

// Fence stands at the network edge of one virtual machine. Its methods may be
// called from several goroutines. After Lower and Close they return
// os.ErrClosed, but for Owner, Lower and Close themselves.
type Fence interface {
	Owner() FenceOwner
	// Set replaces the rules on all NICs. A frame that is not to pass by the new
	// rules does not after Set has returned, and none passes by a mixture of the
	// old and the new.
	Set(FenceRules) error
	// Rules reads them from where the packet path does.
	Rules() (FenceRules, error)
	Counters() (FenceCounters, error)
	// Ways lists those on which packets have left under a lease, in any order.
	Ways() ([]Way, error)
	// Forget makes room: ways go on which nothing has left since they were listed.
	Forget([]Way) error
	// Covers reports whether the fence stands on all these NICs, this moment.
	Covers(nics []NIC) (bool, error)
	// Lower takes the fence down; frames pass untouched. Taps that are gone are no
	// error, nor is lowering twice.
	Lower() error
	// Close lets go of the fence, which stands on and goes by its rules.
	Close() error
}
