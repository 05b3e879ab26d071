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
}

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
	// Trace is the encoded Trace, Channel the packets in transit as pcapng. They
	// are kept as disks are, under the names below.
	Trace   Object  `json:"trace"`
	Channel *Object `json:"channel,omitempty"`
	Packets int     `json:"packets"`
	Frames  int     `json:"frames,omitempty"`
	// LostFrames counts packets in transit whose content could not be kept.
	LostFrames uint64 `json:"lost_frames,omitempty"`
}

// Names of a member's evidence in the repository.
const (
	TraceName   = "trace"
	ChannelName = "channel"
)
