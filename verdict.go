package snapline

import "net/netip"

// Verdict is what the gates' records prove of a cut; package evidence finds it.
type Verdict struct {
	State VerdictState `json:"state"`
	// Text is the verdict on one line.
	Text      string   `json:"text"`
	Packets   int      `json:"packets"`
	Flows     int      `json:"flows"`
	InTransit int      `json:"in_transit"`
	Withheld  int      `json:"withheld"`
	Orphans   int      `json:"orphans"`
	Lost      uint64   `json:"lost"` // records
	Reasons   []string `json:"reasons,omitempty"`
	// Peers are addresses outside the group that members exchanged packets with
	// while the cut was made: a restore does not take back what they know.
	Peers []Peer `json:"peers,omitempty"`
	// Channel is what is known of the packets in transit; nil when nothing was
	// recorded.
	Channel *Channel `json:"channel,omitempty"`
}

// Channel is the state of the group's network at the cut: the packets that were
// sent before their sender's cut and not received before their receiver's.
type Channel struct {
	// Complete: what is not kept is TCP, which sends it again. A restore that
	// delivers what is kept then loses nothing.
	Complete bool `json:"complete"`
	// Text says the same on one line.
	Text string `json:"text"`
	// InTransit packets were seen to arrive after their receiver's cut, or to be
	// withheld from it; of Kept ones the content is stored.
	InTransit int `json:"in_transit"`
	Kept      int `json:"kept"`
	// Reasons say why it is not complete.
	Reasons []string `json:"reasons,omitempty"`
}

// Replay says what of the channel a restore delivers again.
type Replay string

// Kinds of replay.
const (
	ReplayNothing  Replay = ""
	ReplayComplete Replay = "complete" // all of it, or the restore is refused
	ReplayKnown    Replay = "known"    // what was kept
)

// VerdictState is a verdict in a word.
type VerdictState string

// The states of a verdict.
const (
	Consistent   VerdictState = "consistent"   // proven
	Inconsistent VerdictState = "inconsistent" // there is an orphan: the snapshot is worthless
	Unproven     VerdictState = "unproven"     // neither; Reasons say why
)

// Peer is one of a member's peers outside the group.
type Peer struct {
	Member  MemberName `json:"member"`
	Address netip.Addr `json:"address"`
	In      uint64     `json:"packets_in"`
	Out     uint64     `json:"packets_out"`
}

// MemberEvidence is what one member's gate has recorded.
type MemberEvidence struct {
	// Trace is the encoded Trace, Channel the packets, as pcapng, that may have been
	// in transit on their way to the member. They are kept as disks are, under the
	// names below.
	Trace   Object  `json:"trace"`
	Channel *Object `json:"channel,omitempty"`
	Packets int     `json:"packets"`
	Frames  int     `json:"frames,omitempty"`
	// Addresses are those that the member was seen to send from, by which its
	// packets are known behind a router; the first MaxAddresses of them.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// LostFrames counts packets whose content could not be kept.
	LostFrames uint64 `json:"lost_frames,omitempty"`
	// Armed is when the shield went up: every gate of the group recorded by then.
	// Drained is the last moment before the pause at which nothing that had passed
	// the gate waited to be read by the VM's hypervisor; zero when there is none.
	// Both are of the host's CLOCK_BOOTTIME.
	Armed   Instant `json:"armed,omitempty"`
	Drained Instant `json:"drained,omitempty"`
}

// MaxAddresses bounds MemberEvidence.Addresses: a member that routes sends from
// everybody's.
const MaxAddresses = 64

// Names of a member's evidence in the repository.
const (
	TraceName   = "trace"
	ChannelName = "channel"
)
