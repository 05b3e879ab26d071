package etcd

import (
	"context"
	"slices"
	"time"

	"github.com/snapline/snapline/lab/check"
)

// hashTimeout bounds how long the members may take to have the same data.
const hashTimeout = 15 * time.Second

// hash is etcd's own digest of a member's whole store. It says nothing of a
// member that is being written to.
func (c *Client) hash(ctx context.Context) (uint64, error) {
	var answer struct {
		Hash uint64 `json:"hash"`
	}
	err := c.call(ctx, "/v3/maintenance/hash", struct{}{}, &answer)
	return answer.Hash, err
}

// compareHashes holds the members' stores against each other. Nobody writes any
// more, so they come to be the same; those whose histories differ never do.
func compareHashes(ctx context.Context, list *check.List, clients []*Client) {
	const name = "same hash of all members"
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		hashes, err := hashesOf(ctx, clients)
		if err == nil && !slices.ContainsFunc(hashes, func(h uint64) bool { return h != hashes[0] }) {
			list.Add(name, true, "%08x", hashes[0])
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err != nil {
				list.Add(name, false, "%v", err)
			} else {
				list.Add(name, false, "%08x after %v", hashes, hashTimeout)
			}
			return
		}
	}
}

func hashesOf(ctx context.Context, clients []*Client) ([]uint64, error) {
	var all []uint64
	for _, c := range clients {
		hash, err := c.hash(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, hash)
	}
	return all, nil
}
