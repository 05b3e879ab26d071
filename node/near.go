package node

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/placement"
)

// nearQuestion asks an agent how much of members' data its host has in the cache
// of its repository.
type nearQuestion struct {
	Snapshot snapline.SnapshotID `json:"snapshot"`
	// Members with their names and objects only.
	Members []snapline.MemberSnapshot `json:"members"`
}

// A plan waits so long for what hosts have near: it is a matter of order among
// hosts, and a group is waiting. An agent answers earlier, with what it has found.
const (
	nearTime   = time.Second
	nearAnswer = nearTime * 3 / 4
)

// near answers a nearQuestion. Members of which nothing is here are left out.
func (a *Agent) near(ctx context.Context, q nearQuestion) map[snapline.MemberName]snapline.Nearness {
	repo, err := a.repository()
	cache, ok := repo.(snapline.Cached)
	if err != nil || !ok {
		return nil
	}
	end := time.Now().Add(nearAnswer)
	found := map[snapline.MemberName]snapline.Nearness{}
	for i, m := range q.Members {
		// Each gets a share of the time that is left, so that none is left out.
		ctx, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(len(q.Members)-i))
		n, err := cache.Near(ctx, q.Snapshot, m)
		cancel()
		if err != nil {
			a.Log.Warn("what is near of a snapshot", "snapshot", q.Snapshot, "member", m.Name, "error", err)
			continue
		}
		if n.Bytes > 0 {
			found[m.Name] = n
		}
	}
	return found
}

// askNear fills in how much of the snapshot the hosts have near, and reports
// whether any has. One that does not answer in time has nothing, and so has one
// whose answer makes no sense.
func (c *Coordinator) askNear(ctx context.Context, q *placement.Request, s snapline.Snapshot) (any bool) {
	ask := nearQuestion{Snapshot: s.ID}
	for _, m := range s.Members {
		part := snapline.MemberSnapshot{Name: m.Name, Object: m.Object}
		for _, d := range m.Disks {
			part.Disks = append(part.Disks, snapline.DiskSnapshot{Name: d.Name, Object: d.Object})
		}
		ask.Members = append(ask.Members, part)
	}
	ctx, cancel := context.WithTimeout(ctx, nearTime)
	defer cancel()
	answers := make([]findings, len(q.Hosts))
	var asking errgroup.Group
	for i, h := range q.Hosts {
		asking.Go(func() error {
			f, err := c.question(ctx, h.Name, inspection{Near: &ask})
			if err == nil {
				answers[i] = f
			}
			return nil
		})
	}
	_ = asking.Wait()
	for i := range q.Members {
		m := &q.Members[i]
		m.Near = map[snapline.HostName]int64{}
		for k, h := range q.Hosts {
			if n, ok := answers[k].Near[m.Name]; ok && 0 < n.Bytes && n.Bytes <= n.Of && n.Of <= mostNear {
				m.Near[h.Name] = n.Bytes
				m.StoredBytes = max(m.StoredBytes, n.Of)
				any = true
			}
		}
	}
	return any
}

// mostNear bounds what a host may say of one member, in bytes: sums of it do not
// overflow.
const mostNear = 1 << 50

// nearest chooses anew for a plan, knowing who has what, and notes what that has
// changed.
func nearest(p *snapline.RecoveryPlan, q placement.Request) {
	place, reasons := placement.Find(q)
	if reasons != nil {
		return // never: there was room, and what is near takes none
	}
	if !maps.Equal(place, p.Place) {
		p.Place, p.Otherwise = place, p.Place
	}
	p.Near = map[snapline.MemberName]snapline.Nearness{}
	for _, m := range q.Members {
		if m.StoredBytes > 0 {
			p.Near[m.Name] = snapline.Nearness{Bytes: m.Near[place[m.Name]], Of: m.StoredBytes}
		}
	}
}
