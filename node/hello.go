package node

import "github.com/snapline/snapline"

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
	Host        snapline.HostName    `json:"host"`
	Incarnation snapline.Incarnation `json:"incarnation"`
	Version     string               `json:"version"`
	Hypervisor  string               `json:"hypervisor"`
}

// welcome is the coordinator's answer: where snapshots go.
type welcome struct {
	Repository   string `json:"repository"`    // as the coordinator was told it
	RepositoryID string `json:"repository_id"` // to see that the host sees the same one
	Refused      string `json:"refused,omitempty"`
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

// inspection is the coordinator's question how some members are.
type inspection struct {
	Group   snapline.GroupName `json:"group"`
	Members []snapline.Member  `json:"members"`
}

// findings answers an inspection.
type findings struct {
	Members []snapline.MemberStatus `json:"members"`
}
