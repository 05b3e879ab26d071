package node

import (
	"fmt"
	"slices"

	"github.com/snapline/snapline"
)

// Who may run where is decided under one lock, fate: a host whose hello is
// being answered cannot be declared lost before the answer is fixed, and one
// that was declared lost gets no more leases for the groups that go on without
// it. So a lease that was counted as run out is never renewed.

// leaseFor fills in which members may run on the host that says hello; fate is
// held.
func (c *Coordinator) leaseFor(h hello, w *welcome) {
	w.Lease = c.Lease
	why := map[memberRef]string{}
	for _, u := range h.Unfenced {
		why[u.memberRef] = u.Text
	}
	left := map[memberRef]bool{} // without those that have a place here
	for _, ref := range h.Leased {
		left[ref] = true
	}
	for g, k := range c.keepers {
		placed := c.groups[g].placed()
		for _, m := range placed.Members {
			if m.Host != h.Host {
				continue
			}
			ref := memberRef{g, m.Name}
			delete(left, ref)
			if r := k.rec.Recovery; r != nil && slices.Contains(r.Gone, h.Host) {
				if slices.Contains(r.Released, h.Host) {
					w.Evict = append(w.Evict, fenced{Group: g, Member: m})
				}
				continue
			}
			w.Fence = append(w.Fence, fenced{Group: g, Member: m})
			k.noteFenced(m.Name, h.Host, slices.Contains(h.Fenced, ref), why[ref])
		}
		for _, m := range placed.Members {
			if m.Host != h.Host && slices.Contains(k.rec.Left[m.Name], h.Host) && c.runningOn(g) == nil {
				w.Evict = append(w.Evict, fenced{Group: g, Member: m, MACs: k.rec.MACs})
			}
		}
	}
	for at := range c.evicting {
		if at.host == h.Host && !left[at.memberRef] {
			delete(c.evicting, at)
			c.events.add(snapline.Event{Kind: snapline.EventEvicted, Group: at.Group, Host: h.Host,
				Text: fmt.Sprintf("what host %s still ran of %s, which was restored elsewhere, is ended", h.Host, at.Member)})
		}
	}
	for ref := range left {
		c.leftover(h.Host, ref, w)
	}
}

// leave remembers where members were that a restore has gone on without asking, and
// forgets where it has asked; fate is held. What has no address to be known by is
// heard by nobody.
func (k *keeper) leave(was map[snapline.MemberName]snapline.HostName, without absent, asked []snapline.HostName, macs []string) {
	if len(macs) == 0 {
		return
	}
	for m, h := range was {
		left := slices.DeleteFunc(slices.Clone(k.rec.Left[m]), func(h snapline.HostName) bool { return slices.Contains(asked, h) })
		if without.has(h) && !slices.Contains(left, h) {
			left = append(left, h)
		}
		if k.rec.Left == nil {
			k.rec.Left = map[snapline.MemberName][]snapline.HostName{}
		}
		k.rec.Left[m] = left
	}
	k.rec.MACs, k.unsaved = macs, true
	k.nudge()
}

// noteFenced remembers whether the member's network closes with its host's
// lease; fate is held.
func (k *keeper) noteFenced(m snapline.MemberName, h snapline.HostName, is bool, why string) {
	k.unable[m] = why
	was := k.rec.Fenced[m] == h
	switch {
	case is && !was:
		k.rec.Fenced[m] = h
	case !is && was:
		delete(k.rec.Fenced, m)
	default:
		return
	}
	k.unsaved = true
	k.nudge()
}

// over are those of an agent's restores that are not under way; fate is held.
func (c *Coordinator) over(loaded []snapline.OperationID) (ended []snapline.OperationID) {
	select {
	case <-c.ready:
	default:
		return nil // a predecessor's may be gone on with
	}
	for _, id := range loaded {
		if op := c.find(id); op == nil || op.state().State != "running" {
			ended = append(ended, id)
		}
	}
	return ended
}

// memberAt is an instance of a member on a host.
type memberAt struct {
	host snapline.HostName
	memberRef
}

// leftover judges a fenced member that no protection wants on this host; fate is
// held. A coordinator that does not serve yet leaves it as it is: it may be about
// to go on with a restore.
func (c *Coordinator) leftover(h snapline.HostName, ref memberRef, w *welcome) {
	select {
	case <-c.ready:
	default:
		return
	}
	rec, known := c.groups[ref.Group]
	if !known || c.runningOn(ref.Group) != nil {
		return // a restore under way may be about to place it here
	}
	placed := rec.placed()
	m := placed.Member(ref.Member)
	switch {
	case m == nil && rec.Former[ref.Member] == h:
		w.Lift = append(w.Lift, ref)
	case m == nil:
		return // no longer of the group, and not where it was: for its owner to say
	case m.Host == h:
		w.Lift = append(w.Lift, ref)
	default:
		w.Evict = append(w.Evict, fenced{Group: ref.Group, Member: *m})
		c.evicting[memberAt{h, ref}] = true
	}
}
