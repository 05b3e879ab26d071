package evidence

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/snapline/snapline"
)

// State is a verdict in a word.
type State = snapline.VerdictState

// The states.
const (
	Consistent   = snapline.Consistent   // proven: no orphan
	Inconsistent = snapline.Inconsistent // at least one orphan
	Unproven     = snapline.Unproven     // neither; Reasons say why
)

// Verdict is what the traces of a round prove. The packets are those between
// members, counted as they were sent, and one each for receipts without a
// recorded sending; each is in exactly one of the classes that follow.
type Verdict struct {
	State   State `json:"state"`
	Packets int   `json:"packets"`
	// Flows are conversations: both directions count as one.
	Flows int `json:"flows"`

	Before    int `json:"before"`     // sent and received before the cut
	InTransit int `json:"in_transit"` // sent before and received after it, in part at least
	Withheld  int `json:"withheld"`   // withheld by a shield and not received in another way
	After     int `json:"after"`      // sent after the cut, and not received before it
	Dropped   int `json:"dropped"`    // sent before the cut and received nowhere
	Orphans   int `json:"orphans"`    // sent after the cut and received before it
	// Unmatched packets were received by a member from a member's address, and no
	// recorded sending is theirs. Unexplained counts those of them that were
	// received before the cut: nothing shows that they were sent before it.
	Unmatched   int `json:"unmatched"`
	Unexplained int `json:"unexplained"`
	// Ambiguous packets were received before the cut and look like others of which
	// one may have been sent after it. They are in a class as well.
	Ambiguous int `json:"ambiguous"`

	// Lost counts records that the gates could not keep.
	Lost    uint64   `json:"lost"`
	Reasons []string `json:"reasons,omitempty"`
	// Named are the first orphans, NamedMost at the most.
	Named []Orphan `json:"named,omitempty"`
}

// NamedMost is how many orphans a verdict names.
const NamedMost = 20

// Orphan is a packet that was sent after its sender's cut and received before
// its receiver's. Sent and Received are on two hosts' clocks: they are to be
// compared with the cuts of the same member, not with each other.
type Orphan struct {
	From        snapline.MemberName `json:"from"`
	To          snapline.MemberName `json:"to"`
	Sent        snapline.Instant    `json:"sent"`
	CutBegan    snapline.Instant    `json:"cut_began"` // the sender's
	Received    snapline.Instant    `json:"received"`
	CutEnded    snapline.Instant    `json:"cut_ended"` // the receiver's
	Protocol    uint8               `json:"protocol"`
	Source      netip.AddrPort      `json:"source"`
	Destination netip.AddrPort      `json:"destination"`
	Sequence    uint32              `json:"sequence,omitempty"`
	Length      uint32              `json:"length"`
}

// String is the verdict on one line, as take and verify print it.
func (v Verdict) String() string {
	if v.State == Unproven {
		return string(v.State) + ": " + strings.Join(v.Reasons, "; ")
	}
	return string(v.State) + ": " + count(v.Packets, "packet", "packets") + " in " + count(v.Flows, "flow", "flows") + ", " +
		thousands(uint64(v.InTransit)) + " in transit, " + thousands(uint64(v.Withheld)) + " withheld, " + count(v.Orphans, "orphan", "orphans")
}

func count[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(uint64(n)) + " " + many
}

// thousands writes 1204 as 1,204.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
