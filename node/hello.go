package node

import (
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// Node's own messages beside the protocol's: who is there, and how far long
// work has come. Losing one is harmless.

const (
	// toHello is where agents report that they live.
	toHello snapline.Address = "coordinator.hello"
	// toProgress is where agents report how far long work has come.
	toProgress snapline.Address = "coordinator.progress"
)

// hello is an agent's question to the coordinator, once a second.
type hello struct {
	Term        uint64               `json:"term,omitempty"` // the latest that it has heard of
	Host        snapline.HostName    `json:"host"`
	Incarnation snapline.Incarnation `json:"incarnation"`
	Version     string               `json:"version"`
	Hypervisor  string               `json:"hypervisor"`
	// Fenced are the members whose packet path carries a lease at this moment,
	// Unfenced those that should and do not.
	Fenced   []memberRef `json:"fenced,omitempty"`
	Unfenced []unfenced  `json:"unfenced,omitempty"`
	// Leased are all that a fence with a lease stands around, also one of a former
	// life of the agent, which may not cover the machine.
	Leased []memberRef `json:"leased,omitempty"`
	// Loaded are restores that have loaded machines here which were not let run yet.
	Loaded []snapline.OperationID `json:"loaded,omitempty"`
	Resources
}

// Bounds of what an agent may say of itself, in bytes: the coordinator keeps the
// latest hello of each.
const (
	maxHello = 256 << 10 // a thousand members are a third of it
	maxWords = 200       // of a version or a name for people
)

// bounded is the hello as it is kept.
func (h hello) bounded() hello {
	h.Incarnation = snapline.Incarnation(clip(string(h.Incarnation), maxWords))
	h.Version, h.Hypervisor = clip(h.Version, maxWords), clip(h.Hypervisor, maxWords)
	return h
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// welcome is the coordinator's answer: where snapshots go, and for how long which
// members may run.
type welcome struct {
	Term         uint64 `json:"term"`
	Repository   string `json:"repository"`    // as the coordinator was told it
	RepositoryID string `json:"repository_id"` // to see that the host sees the same one
	Refused      string `json:"refused,omitempty"`
	// Lease is how long a member of a protected group may run after the hello that
	// this answers was sent.
	Lease time.Duration `json:"lease,omitempty"`
	// Fence are the members of protected groups that may run here. One that is not
	// named keeps its fence, and its lease runs out.
	Fence []fenced `json:"fence,omitempty"`
	// Lift are fenced members that may run here without a lease from now on: their
	// group is not protected any more.
	Lift []memberRef `json:"lift,omitempty"`
	// Evict are members that run elsewhere now: what runs here is of an abandoned
	// timeline.
	Evict []fenced `json:"evict,omitempty"`
	// Over are those of the Loaded that have ended without this host, which could not
	// be asked to undo them.
	Over []snapline.OperationID `json:"over,omitempty"`
	// Hush are members whose silence goes on; others that are silent are to be heard.
	Hush []hushed `json:"hush,omitempty"`
}

// hushed is a member that is kept silent, from the cut of a round on.
type hushed struct {
	memberRef
	Round snapline.Round `json:"round"`
	// For is the time that is left for it at the most.
	For time.Duration `json:"for"`
}

// telemetry says how far a member's data has come, in a round or in a restore.
type telemetry struct {
	Group  snapline.GroupName   `json:"group,omitempty"`
	Round  snapline.Round       `json:"round,omitempty"`
	Op     snapline.OperationID `json:"op,omitempty"`
	Member snapline.MemberName  `json:"member"`
	Step   string               `json:"step"`
	Bytes  int64                `json:"bytes"`
	Total  int64                `json:"total"`
}

// inspection is the coordinator's question how some members are; or, if one of
// the pointers is set, what it says.
type inspection struct {
	Group   snapline.GroupName `json:"group"`
	Members []snapline.Member  `json:"members"`
	Doctor  *examination       `json:"doctor,omitempty"`
	Path    *pathStep          `json:"path,omitempty"`
	Near    *nearQuestion      `json:"near,omitempty"`
	Peers   *peersQuestion     `json:"peers,omitempty"`
}

// findings answers an inspection.
type findings struct {
	Members []snapline.MemberStatus                   `json:"members"`
	Doctor  []snapline.Finding                        `json:"doctor,omitempty"`
	Now     snapline.Instant                          `json:"now,omitempty"` // on the agent's clock
	Path    *pathFound                                `json:"path,omitempty"`
	Near    map[snapline.MemberName]snapline.Nearness `json:"near,omitempty"`
	Peers   *peerReport                               `json:"peers,omitempty"`
}

// examination asks an agent about its host, or only what its clock shows.
type examination struct {
	ClockOnly bool `json:"clock_only,omitempty"`
}
