package etcd

import (
	"context"
	"slices"
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

// compareHashes holds the members' data against each other, and says from which
// revision on they differ.
func compareHashes(ctx context.Context, list *check.List, clients []*Client, revision int64) {
	const name = "same hash of all members"
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	hashes, err := hashesAt(ctx, clients, revision)
	if err != nil {
		list.Add(name, false, "%v", err)
		return
	}
	if allSame(hashes) {
		list.Add(name, true, "%08x at revision %d", hashes[0], revision)
		return
	}
	same, differ := int64(1), revision // a hash covers all revisions up to its own
	for differ-same > 1 {
		middle := (same + differ) / 2
		at, err := hashesAt(ctx, clients, middle)
		if err != nil {
			list.Add(name, false, "%08x at revision %d; %v", hashes, revision, err)
			return
		}
		if allSame(at) {
			same = middle
		} else {
			differ = middle
		}
	}
	list.Add(name, false, "%08x at revision %d; they differ from revision %d on", hashes, revision, differ)
}

func hashesAt(ctx context.Context, clients []*Client, revision int64) ([]uint64, error) {
	var all []uint64
	for _, c := range clients {
		hash, err := c.awaitHash(ctx, revision)
		if err != nil {
			return nil, err
		}
		all = append(all, hash)
	}
	return all, nil
}

func allSame(hashes []uint64) bool {
	return !slices.ContainsFunc(hashes, func(h uint64) bool { return h != hashes[0] })
}
