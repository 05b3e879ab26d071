package etcd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Status is a cluster's identity and leadership, on which all its members
// agreed when it was read.
type Status struct {
	ClusterID uint64 `json:"cluster_id"`
	// Members are the ids by name.
	Members  map[string]uint64 `json:"members"`
	Leader   uint64            `json:"leader"`
	RaftTerm uint64            `json:"raft_term"`
	// Revision is the highest that a member reported.
	Revision int64 `json:"revision"`
}

// LeaderName is the leader's name, or its id if no member has it.
func (s Status) LeaderName() string {
	for name, id := range s.Members {
		if id == s.Leader {
			return name
		}
	}
	return fmt.Sprintf("%x", s.Leader)
}

// ReadStatus asks every endpoint. It is an error if one does not answer, knows
// no leader, or differs from another.
func ReadStatus(ctx context.Context, clients []*Client) (Status, error) {
	var all Status
	for i, c := range clients {
		one, err := c.status(ctx)
		if err != nil {
			return Status{}, err
		}
		switch {
		case one.Leader == 0:
			return Status{}, fmt.Errorf("etcd at %s knows no leader", c.endpoint)
		case i == 0:
			all = one
		case one.ClusterID != all.ClusterID || one.Leader != all.Leader || one.RaftTerm != all.RaftTerm || !maps.Equal(one.Members, all.Members):
			return Status{}, fmt.Errorf("etcd members disagree: %s says %+v, %s says %+v", clients[0].endpoint, all, c.endpoint, one)
		}
		all.Revision = max(all.Revision, one.Revision)
	}
	return all, nil
}

func (c *Client) status(ctx context.Context) (Status, error) {
	var st struct {
		Header   header
		Leader   uint64 `json:"leader,string"`
		RaftTerm uint64 `json:"raftTerm,string"`
	}
	if err := c.call(ctx, "/v3/maintenance/status", struct{}{}, &st); err != nil {
		return Status{}, err
	}
	var list struct {
		Members []struct {
			ID   uint64 `json:",string"`
			Name string
		}
	}
	if err := c.call(ctx, "/v3/cluster/member/list", struct{}{}, &list); err != nil {
		return Status{}, err
	}
	s := Status{ClusterID: st.Header.ClusterID, Leader: st.Leader, RaftTerm: st.RaftTerm,
		Revision: st.Header.Revision, Members: make(map[string]uint64)}
	for _, m := range list.Members {
		s.Members[m.Name] = m.ID
	}
	return s, nil
}

// AwaitHealthy waits until all members agree on a leader and each of them has
// carried out a write; then it returns the status. The error says what was
// still missing when ctx ended.
func AwaitHealthy(ctx context.Context, clients []*Client) (Status, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := Healthy(ctx, clients)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return Status{}, fmt.Errorf("etcd is not healthy: %w", err)
		case <-tick.C:
		}
	}
}

// Healthy is one try of AwaitHealthy, of at most five seconds.
func Healthy(ctx context.Context, clients []*Client) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := ReadStatus(ctx, clients)
	if err != nil {
		return Status{}, err
	}
	for _, c := range clients {
		if _, err := c.Put(ctx, "snapline/health", c.endpoint); err != nil {
			return Status{}, err
		}
	}
	return s, nil
}

// names are the members' names, sorted.
func (s Status) names() []string { return slices.Sorted(maps.Keys(s.Members)) }
