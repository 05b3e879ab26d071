package etcd

import (
	"context"
	"fmt"
	"time"

	"github.com/snapline/snapline/lab/check"
)

// hashTimeout bounds how long the members may take to come to a revision.
const hashTimeout = 10 * time.Second

// hash is etcd's own digest of all keys up to a revision (HashKV), by which
// etcd itself looks for members whose data differ.
func (c *Client) hash(ctx context.Context, revision int64) (uint64, error) {
	question := struct {
		Revision int64 `json:"revision,string"`
	}{revision}
	var answer struct {
		Hash uint64 `json:"hash"`
	}
	err := c.call(ctx, "/v3/maintenance/hash", question, &answer)
	return answer.Hash, err
}

// awaitHash asks until the member, which may be a revision behind, has it.
func (c *Client) awaitHash(ctx context.Context, revision int64) (uint64, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		hash, err := c.hash(ctx, revision)
		if err == nil {
			return hash, nil
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-tick.C:
		}
	}
}

// compareHashes holds the members' data against each other.
func compareHashes(ctx context.Context, list *check.List, clients []*Client, revision int64) {
	const name = "same hash of all members"
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	first, other := uint64(0), ""
	for i, c := range clients {
		hash, err := c.awaitHash(ctx, revision)
		if err != nil {
			list.Add(name, false, "%v", err)
			return
		}
		if i == 0 {
			first = hash
		} else if hash != first {
			other += fmt.Sprintf(", %08x at %s", hash, c.endpoint)
		}
	}
	list.Add(name, other == "", "%08x%s, at revision %d", first, other, revision)
}
