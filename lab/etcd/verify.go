package etcd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/check"
)

// Claim is what a restored cluster must be measured against.
type Claim struct {
	// Before is the cluster's status when the snapshot was asked for. If the
	// leader changed after that and before the cut, it is not the cut's.
	Before Status
	// Journal is the load's, up to when the old cluster ended.
	Journal Journal
	// Began is when the snapshot was asked for, on the clock of the journal. A
	// write acknowledged before that is before any cut.
	Began time.Time
	// Workers is how many writes the load had under way at a time; default 4, as
	// LoadOptions'.
	Workers int
}

func (c Claim) workers() int { return cmp.Or(c.Workers, defaultWorkers) }

// Verify asks a restored cluster and checks that it is the one of the cut. It
// writes a few keys. The error is for a cluster that could not be asked; what
// is wrong with one that answers is in the list.
func Verify(ctx context.Context, clients []*Client, claim Claim) (check.List, error) {
	after, err := ReadStatus(ctx, clients)
	if err != nil {
		return nil, err
	}
	items, revision, err := clients[0].Range(ctx, KeyPrefix)
	if err != nil {
		return nil, err
	}
	var list check.List
	compareStatus(&list, claim.Before, after)
	compareData(&list, claim, items, revision)
	for _, c := range clients {
		key := fmt.Sprintf("snapline/check/%s/%d", c.endpoint, time.Now().UnixNano())
		made, err := c.Put(ctx, key, "written after the restore")
		detail := fmt.Sprintf("%s at revision %d", c.endpoint, made)
		if err != nil {
			detail = err.Error()
		}
		list.Add("new write accepted", err == nil && made > revision, "%s", detail)
	}
	compareHashes(ctx, &list, clients)
	return list, nil
}

func compareStatus(list *check.List, before, after Status) {
	list.Add("same cluster", before.ClusterID == after.ClusterID, "%x before, %x after", before.ClusterID, after.ClusterID)
	list.Add("same members", maps.Equal(before.Members, after.Members), "%s before, %s after",
		strings.Join(before.names(), " "), strings.Join(after.names(), " "))
	list.Add("same leader", before.Leader == after.Leader, "%s before, %s after", before.LeaderName(), after.LeaderName())
	list.Add("same raft term", before.RaftTerm == after.RaftTerm, "%d before, %d after", before.RaftTerm, after.RaftTerm)
}

// compareData holds the store's keys against the journal. Revisions put all
// writes of a cluster in one order, so a store that is a state of the past has
// exactly the acknowledged writes up to some revision, the decided one. Above
// it are only writes that were under way at the cut, one of each worker at the
// most: their order was not decided then, and may have come out differently.
func compareData(list *check.List, claim Claim, items []Item, revision int64) {
	present := make(map[string]Item, len(items))
	for _, it := range items {
		present[it.Key] = it
	}
	attempted := make(map[string]string)
	acked := make(map[string]Event)
	for _, e := range claim.Journal {
		switch e.Kind {
		case Attempt:
			attempted[e.Key] = e.Value
		case Ack:
			acked[e.Key] = e
		}
	}
	var missing tally
	before := 0
	for key, e := range acked {
		_, there := present[key]
		if e.At.Before(claim.Began) {
			before++
			missing.count(!there, key)
		}
	}
	decided := decidedRevision(acked, present, revision)
	var invented, altered, open, undone, future tally
	for key, e := range acked {
		_, there := present[key] // one that is missing is reported above
		undone.count(there && e.At.Before(claim.Began) && e.Revision > decided, key)
	}
	for key, it := range present {
		value, ok := attempted[key]
		invented.count(!ok, key)
		altered.count(ok && value != it.Value, key)
		open.count(it.Revision > decided, key)
		future.count(it.Revision > revision, key)
	}
	list.Add("acknowledged writes present", missing == tally{} && before > 0, "%d acknowledged before the snapshot was asked for%s", before, missing.of("missing"))
	list.Add("no write invented", invented == tally{}, "%d keys present%s", len(items), invented.of("never attempted"))
	list.Add("values as written", altered == tally{}, "%d values compared%s", len(items), altered.of("altered"))
	list.Add("one point in history", open.n <= claim.workers() && undone.n+future.n == 0, "as far as revision %d of %d%s%s%s",
		decided, revision, open.of("were under way then"), undone.of("decided before the cut came out differently"), future.of("above the store's own revision"))
}

// decidedRevision is the last one up to which the store is exactly what the
// journal says.
func decidedRevision(acked map[string]Event, present map[string]Item, revision int64) int64 {
	decided := revision
	for key, e := range acked {
		if it, there := present[key]; !there || it.Revision != e.Revision {
			decided = min(decided, e.Revision-1)
			if there {
				decided = min(decided, it.Revision-1)
			}
		}
	}
	return decided
}

// tally counts offenders and remembers one.
type tally struct {
	n       int
	example string
}

func (t *tally) count(bad bool, key string) {
	if bad {
		t.n++
		t.example = key
	}
}

func (t tally) of(what string) string {
	if t.n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d %s (as %s)", t.n, what, t.example)
}
